import flambeau as torch

signal = torch.sin(torch.arange(16, dtype=torch.float32))
spectrum = torch.fft.rfft(signal, n=16, norm="ortho")
back = torch.fft.irfft(spectrum, n=16, norm="ortho")
print(torch.allclose(signal, back, atol=1e-5), spectrum.real.shape, spectrum.abs().argmax().item(), torch.view_as_real(spectrum).shape)
print(torch.special.expit(signal).mean() > 0, torch.polar(torch.ones(2), torch.zeros(2)).dtype)
