# needs: sentence-transformers transformers accelerate deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import tempfile
import warnings

import torch

warnings.simplefilter("ignore")
from sentence_transformers import SentenceTransformer, losses, util
from sentence_transformers.models import Normalize, Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

words = "a man is eating food pasta the girl carrying baby riding horse".split()
vocab = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
tokenizer = Tokenizer(models.WordLevel(vocab, "[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]")
with tempfile.TemporaryDirectory() as folder:
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(vocab), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24)).save_pretrained(folder)
    fast.save_pretrained(folder)
    model = SentenceTransformer(modules=[Transformer(folder), Pooling(16, "mean"), Normalize()], device="cpu")
    sentences = ["a man is eating food", "a man is eating pasta", "the girl is carrying a baby", "a man is riding a horse"]
    e = model.encode(sentences, convert_to_tensor=True)
    R("cos", *util.cos_sim(e[:1], e).flatten().tolist())
    R("search", [hit["corpus_id"] for hit in util.semantic_search(e[:1], e, top_k=3)[0]])
    features = [model.tokenize(sentences[:2]), model.tokenize(sentences[2:])]
    model.eval()
    R("loss", losses.MultipleNegativesRankingLoss(model)(features, None).item(), losses.CosineSimilarityLoss(model)(features, torch.tensor([0.8, 0.1])).item())
