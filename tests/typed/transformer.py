import flambeau as torch
from flambeau import Tensor, nn


class Model(nn.Module):
    mask: Tensor

    def __init__(self, words: int, width: int, length: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.position = nn.Parameter(torch.zeros(1, length, width))
        layer = nn.TransformerEncoderLayer(d_model=width, nhead=2, dim_feedforward=16, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers=2)
        self.head = nn.Linear(width, words, bias=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))
        self.apply(self.start)

    def start(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens) + self.position
        scores: Tensor = self.head(self.encoder(x, mask=self.mask))
        return scores


model = Model(11, 4, 5).eval()
with torch.inference_mode():
    print(model(torch.zeros(1, 5, dtype=torch.long)).argmax(dim=-1).shape)
