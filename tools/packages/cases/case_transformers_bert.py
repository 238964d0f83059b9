# needs: transformers deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)

import torch
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

torch.manual_seed(0)
config = BertConfig(vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
                    max_position_embeddings=32, num_labels=3)
model = BertForSequenceClassification(config)
R("parameters", model.num_parameters())
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
ids = torch.randint(0, 100, (8, 16))
mask = torch.ones_like(ids)
mask[::2, 10:] = 0
labels = torch.arange(8) % 3
for step in range(6):
    loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    R(f"loss{step}", loss.item())
model.eval()
with torch.no_grad():
    out = model(ids, attention_mask=mask, output_hidden_states=True, output_attentions=False)
R("logits", *out.logits.flatten().tolist()[:6])
R("hidden", len(out.hidden_states), out.hidden_states[-1].mean().item(), out.hidden_states[1].std().item())
mlm = BertForMaskedLM(config).eval()
with torch.no_grad():
    R("mlm", mlm(ids, labels=ids).loss.item())
import tempfile

with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    again = BertForSequenceClassification.from_pretrained(folder)
    again.eval()
    with torch.no_grad():
        R("reloaded", float((again(ids, attention_mask=mask).logits - out.logits).abs().max()))
