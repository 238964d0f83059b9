# needs: segment-anything torchvision deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


from functools import partial

import numpy as np
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

torch.manual_seed(0)
norm = partial(torch.nn.LayerNorm, eps=1e-6)
sam = Sam(ImageEncoderViT(img_size=128, patch_size=16, embed_dim=32, depth=2, num_heads=2, out_chans=16, norm_layer=norm, use_rel_pos=True, global_attn_indexes=(1,), window_size=4),
          PromptEncoder(embed_dim=16, image_embedding_size=(8, 8), input_image_size=(128, 128), mask_in_chans=8),
          MaskDecoder(num_multimask_outputs=3, transformer=TwoWayTransformer(depth=2, embedding_dim=16, mlp_dim=32, num_heads=2), transformer_dim=16)).eval()
predictor = SamPredictor(sam)
predictor.set_image((np.arange(100 * 80 * 3) % 255).astype(np.uint8).reshape(100, 80, 3))
masks, scores, low = predictor.predict(point_coords=np.array([[30, 40]]), point_labels=np.array([1]), multimask_output=True)
R("predict", masks.shape, *(float(s) for s in scores), float(low.mean()))
