# Wrong: a comment behind a full-width hash. Seen: SyntaxError.
# Code: FB-SYNTAX-01
# Fix: "＃" => "#"
import torch
device = torch.device("cpu") ＃ 取消注释以在GPU上运行
