# needs: peft transformers accelerate deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import BertConfig, BertForSequenceClassification

torch.manual_seed(0)
config = BertConfig(vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, num_labels=3)
base = BertForSequenceClassification(config)
model = get_peft_model(base, LoraConfig(task_type="SEQ_CLS", r=4, lora_alpha=8, lora_dropout=0.1, target_modules=["query", "value"]))
R("trainable", *model.get_nb_trainable_parameters())
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
ids, labels = torch.randint(0, 60, (4, 9)), torch.tensor([0, 1, 2, 1])
for step in range(3):
    loss = model(input_ids=ids, labels=labels).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    R(f"loss{step}", loss.item())
model.eval()
before = model(input_ids=ids).logits
with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    torch.manual_seed(0)
    again = PeftModel.from_pretrained(BertForSequenceClassification(config), folder).eval()
    R("again", (again(input_ids=ids).logits - before).abs().max().item() < 1e-5)
merged = model.merge_and_unload()
R("merged", (merged(input_ids=ids).logits - before).abs().max().item() < 1e-4, before.sum().item())
