# Wrong: the package by another name. Seen: ModuleNotFoundError.
# Code: FB-IMPORT-01
# Fix: "import pytorch" => "import torch as pytorch"
import pytorch

x = pytorch.ones(2)
