import flambeau as torch
from flambeau import Tensor, nn


class Tagger(nn.Module):
    def __init__(self, words: int, tags: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, 8, padding_idx=0)
        self.lstm = nn.LSTM(8, 6, num_layers=2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(12, tags)

    def forward(self, tokens: Tensor, state: tuple[Tensor, Tensor] | None = None) -> Tensor:
        hidden, _ = self.lstm(self.embed(tokens), state)
        scores: Tensor = self.out(hidden)
        return scores.log_softmax(dim=-1)


print(Tagger(10, 3)(torch.tensor([[1, 2, 0]])).size(-1))
