"""The stable codes of everything that flambeau explains: one line of what it is, and the rule behind it, in both languages."""

from __future__ import annotations

from flambeau.diagnosis.language import Text

CODES: dict[str, tuple[Text, Text]] = {}
"""By code: its title, and the rule that one should know."""


def _code(code: str, en: str, zh: str, rule_en: str, rule_zh: str) -> None:
    CODES[code] = Text(en, zh), Text(rule_en, rule_zh)


_code(
    "FB-SYNTAX-01",
    "Full-width punctuation",
    "全角标点",
    'Python takes the punctuation of ASCII alone; （ ， ： “ are other characters than ( , : ".',
    'Python 只认 ASCII 标点;（ ， ： “ 与 ( , : " 是不同的字符。',
)
_code(
    "FB-SYNTAX-02",
    "A semicolon between arguments",
    "参数之间用了分号",
    "Arguments and elements are separated by commas; a semicolon ends a statement.",
    "参数和元素之间用逗号;分号是语句的结束。",
)
_code(
    "FB-SYNTAX-03",
    "A bracket, a comma or a colon is missing",
    "缺少括号、逗号或冒号",
    "Every ( needs its ), and lines that open a block end with a colon.",
    "每个 ( 都要有 ),开始一个代码块的行以冒号结尾。",
)
_code(
    "FB-NAME-01",
    "A local name without a value",
    "局部变量没有值",
    "A name that a function assigns is local to it: before that it has no value, whatever there is outside.",
    "函数里被赋值的名字就是局部变量:赋值之前没有值,与外面的同名变量无关。",
)
_code(
    "FB-NAME-02",
    "le-6 for 1e-6",
    "把 1e-6 写成 le-6",
    "Numbers begin with a digit: 1e-6 is one times ten to the minus six.",
    "数字以数字开头:1e-6 是 1 乘 10 的负 6 次方。",
)
_code(
    "FB-NAME-03",
    "super() of another class",
    "super() 的类不对",
    "super() without arguments means the class it is written in.",
    "不带参数的 super() 就是它所在的类。",
)
_code(
    "FB-NAME-04",
    "An unknown name",
    "未知的名字",
    "A name must be imported or assigned, and be spelt the same everywhere.",
    "名字必须先导入或赋值,并且处处拼写一致。",
)
_code(
    "FB-NAME-05",
    "A name that torch does not have",
    "torch 没有这个名字",
    "Classes begin with a capital letter (nn.Module); other frameworks call things by other names (Dense is Linear).",
    "类名以大写字母开头(nn.Module);其他框架的叫法不同(Dense 在这里是 Linear)。",
)
_code(
    "FB-NAME-06",
    "A method that tensors do not have",
    "张量没有这个方法",
    "Methods that write in place end in _ (zero_, add_); arrays of NumPy have other names.",
    "就地修改的方法以 _ 结尾(zero_、add_);NumPy 数组的方法名不同。",
)
_code(
    "FB-NAME-07",
    "A layer or attribute that the module does not have",
    "模块没有这个层或属性",
    "What __init__ assigns to self is there under that very name.",
    "__init__ 里赋给 self 的名字必须与使用时一致。",
)
_code(
    "FB-IMPORT-01",
    "A name that flambeau does not have yet",
    "flambeau 还没有的名字",
    "flambeau has most of PyTorch, not all of it.",
    "flambeau 实现了 PyTorch 的大部分,不是全部。",
)
_code(
    "FB-CALL-01",
    "A layer where its result is meant",
    "把层当成了结果",
    "nn.ReLU(...) makes a layer, whose arguments are settings; the layer is then called with data.",
    "nn.ReLU(...) 只是建一个层,参数是设置;然后再用数据调用这个层。",
)
_code(
    "FB-MODULE-01",
    "super().__init__() is missing",
    "缺少 super().__init__()",
    "nn.Module keeps account of layers, and begins to in its own __init__.",
    "nn.Module 登记各层,从它自己的 __init__ 开始。",
)
_code(
    "FB-MODULE-02",
    "__init__ is misspelt",
    "__init__ 拼错",
    "Special methods have two underscores on either side.",
    "特殊方法两边各有两个下划线。",
)
_code(
    "FB-MODULE-03",
    "There is no forward",
    "没有 forward",
    "A call of a module runs its forward; lists of modules have none.",
    "调用模块就是运行它的 forward;模块列表没有 forward。",
)
_code(
    "FB-SHAPE-01",
    "Matrices that cannot be multiplied",
    "矩阵不能相乘",
    "(n, m) @ (m, p) gives (n, p): columns of the first are rows of the second.",
    "(n, m) @ (m, p) 得 (n, p):前者的列数等于后者的行数。",
)
_code(
    "FB-SHAPE-02",
    "Linear is given another number of features",
    "Linear 的特征数不符",
    "nn.Linear(in, out) takes tensors whose last dim is in; each layer takes as many as the one before gives.",
    "nn.Linear(in, out) 的输入最后一维是 in;每层的输入个数等于前一层的输出个数。",
)
_code(
    "FB-SHAPE-03",
    "A convolution is given another number of channels",
    "卷积的通道数不符",
    "Images are (N, C, H, W): channels come before height and width.",
    "图像是 (N, C, H, W):通道在高和宽之前。",
)
_code(
    "FB-SHAPE-04",
    "A layer is given another number of dims",
    "层的输入维数不符",
    "Conv2d takes (N, C, H, W) or (C, H, W), Conv1d (N, C, L) or (C, L).",
    "Conv2d 接受 (N, C, H, W) 或 (C, H, W),Conv1d 接受 (N, C, L) 或 (C, L)。",
)
_code(
    "FB-SHAPE-05",
    "Shapes that do not broadcast",
    "形状不能广播",
    "Shapes are aligned at the right; in each dim the sizes are equal, or one of them is 1.",
    "形状从右边对齐;每一维大小相等,或其中一个为 1。",
)
_code(
    "FB-SHAPE-06",
    "view of a tensor in another order",
    "对次序已变的张量用 view",
    "view looks at the same memory and so needs it in order; reshape copies where it must.",
    "view 看的是同一块内存,要求次序连续;reshape 必要时会复制。",
)
_code(
    "FB-SHAPE-07",
    "A shape for another number of elements",
    "形状与元素个数不符",
    "The product of the sizes is the number of elements; one of them may be -1.",
    "各维大小之积等于元素个数;其中一个可以写 -1。",
)
_code(
    "FB-SHAPE-08",
    "item() of many",
    "对多个数用 item()",
    "item() turns a tensor of one element into a number.",
    "item() 把只有一个元素的张量变成数。",
)
_code(
    "FB-SHAPE-09",
    "Tensors that cannot be joined",
    "张量不能连接",
    "cat joins along a dim that is there, stack along a new one; all other sizes are equal.",
    "cat 沿已有的维连接,stack 沿新的维;其余大小必须相同。",
)
_code(
    "FB-SHAPE-10",
    "A dim or an index that is not there",
    "维或下标不存在",
    "Dims and indices are counted from 0; -1 is the last.",
    "维和下标从 0 数起;-1 是最后一个。",
)
_code(
    "FB-SHAPE-11",
    "view where permute is meant",
    "该用 permute 却用了 view",
    "view reads the same numbers in the same order into another shape; permute and transpose turn the dims.",
    "view 按原来的次序把数放进另一个形状;permute 和 transpose 才是调换维。",
)
_code(
    "FB-CLASS-01",
    "Class numbers of another shape",
    "类别编号的形状不符",
    "Scores are (N, C), class numbers (N,).",
    "得分是 (N, C),类别编号是 (N,)。",
)
_code(
    "FB-CLASS-02",
    "One-hot rows of integers",
    "整数的 one-hot 行",
    "Targets are class numbers, or probabilities as floats.",
    "目标是类别编号,或浮点的概率。",
)
_code(
    "FB-CLASS-03",
    "A class that there is not",
    "类别超出范围",
    "C classes are numbered from 0 to C - 1.",
    "C 个类别的编号是 0 到 C - 1。",
)
_code(
    "FB-CLASS-04",
    "Scores and targets of other numbers",
    "得分与目标个数不同",
    "Scores are (N, C), and the N of the targets is the same.",
    "得分是 (N, C),目标的 N 与之相同。",
)
_code(
    "FB-STATE-01",
    "Saved values of another net",
    "保存的是另一个网络",
    "load_state_dict wants the same layers, by name and size.",
    "load_state_dict 要求层的名字和大小都相同。",
)
_code(
    "FB-DTYPE-01",
    "Two dtypes",
    "两种数据类型",
    "NumPy makes float64, layers are float32: convert the data.",
    "NumPy 默认 float64,层是 float32:请转换数据。",
)
_code("FB-DTYPE-02", "Class numbers as floats", "类别编号是浮点数", "Class numbers are of dtype long.", "类别编号的类型是 long。")
_code("FB-DTYPE-03", "An index of floats", "下标是浮点数", "Rows are looked up by integers.", "查表用整数下标。")
_code(
    "FB-DTYPE-04",
    "A gradient of integers",
    "整数没有梯度",
    "Only floats and complex numbers have gradients.",
    "只有浮点数和复数有梯度。",
)
_code(
    "FB-DTYPE-05",
    "Floats written into integers",
    "把浮点数写进整数",
    "In-place operations keep the dtype of what they write to.",
    "就地运算保持被写张量的类型。",
)
_code(
    "FB-DTYPE-06",
    "Integers where floats are wanted",
    "需要浮点数",
    "Means, roots and probabilities are of floats.",
    "均值、方根、概率都要浮点数。",
)
_code(
    "FB-TYPE-01",
    "A recurrent layer gives a tuple",
    "循环层返回元组",
    "LSTM, GRU and RNN give (output, state).",
    "LSTM、GRU、RNN 返回 (output, state)。",
)
_code(
    "FB-TYPE-02",
    "Something that is no tensor",
    "不是张量",
    "Layers and operations take tensors: torch.tensor(list), torch.from_numpy(array).",
    "层和运算接受张量:torch.tensor(list)、torch.from_numpy(array)。",
)
_code(
    "FB-TYPE-03",
    "One list of tensors is wanted",
    "需要一个张量列表",
    "cat and stack take a list or tuple of tensors as their first argument.",
    "cat 和 stack 的第一个参数是张量的列表或元组。",
)
_code(
    "FB-TYPE-04", "A class for a layer", "把类当成层", "nn.ReLU is a class, nn.ReLU() a layer.", "nn.ReLU 是类,nn.ReLU() 才是层。"
)
_code(
    "FB-TYPE-05",
    "None in arithmetic",
    "None 参加运算",
    "A gradient is None before backward() has reached it; a function without return gives None.",
    "backward() 到达之前梯度是 None;没有 return 的函数返回 None。",
)
_code(
    "FB-TYPE-06",
    "An attribute of None",
    "None 的属性",
    "A gradient is None before backward() has reached it; a function without return gives None.",
    "backward() 到达之前梯度是 None;没有 return 的函数返回 None。",
)
_code(
    "FB-TYPE-07",
    "The optimizer is given the model",
    "把模型给了优化器",
    "An optimizer takes model.parameters().",
    "优化器要的是 model.parameters()。",
)
_code(
    "FB-TYPE-08",
    "One truth of many",
    "多个真假值当一个用",
    "`if` wants one truth; .any() and .all() make one of many, & | ~ work elementwise.",
    "`if` 只要一个真假值;.any()、.all() 把多个变成一个,& | ~ 逐元素运算。",
)
_code(
    "FB-TYPE-09",
    "Not an integer, or not an array",
    "不是整数或数组",
    "Indices are integers; from_numpy takes arrays.",
    "下标是整数;from_numpy 接受数组。",
)
_code(
    "FB-TYPE-10",
    "A list of tensors",
    "张量的列表",
    "torch.stack makes one tensor of a list of them.",
    "torch.stack 把张量列表合成一个张量。",
)
_code(
    "FB-GRAPH-01",
    "An update that is on the tape",
    "更新被记入计算图",
    "Weights are leaves of the graph: they are updated under torch.no_grad().",
    "权重是计算图的叶子:在 torch.no_grad() 下更新。",
)
_code(
    "FB-GRAPH-02",
    "Backward twice through one graph",
    "同一张图反向两次",
    "A graph serves one backward(): each step computes its own.",
    "一张图只用于一次 backward():每一步都要重新计算。",
)
_code("FB-GRAPH-03", "Backward of many numbers", "对多个数反向", "A loss is one number.", "损失是一个数。")
_code(
    "FB-GRAPH-04",
    "Backward without a graph",
    "没有计算图可反向",
    "A graph begins at tensors with requires_grad=True, and ends where something is detached.",
    "计算图从 requires_grad=True 的张量开始,在 detach 处断开。",
)
_code(
    "FB-GRAPH-05",
    "numpy() of a tensor on the tape",
    "对计算图上的张量用 numpy()",
    "detach() gives the values without the graph.",
    "detach() 给出不带计算图的值。",
)
_code(
    "FB-GRAPH-06",
    "A value that backward needs was written over",
    "反向所需的值被改写",
    "In-place operations destroy what they write to.",
    "就地运算会毁掉原值。",
)
_code(
    "FB-GRAPH-07",
    "The loss does not use this tensor",
    "损失没有用到该张量",
    "Gradients exist for what the loss is computed from.",
    "只有参与计算损失的张量才有梯度。",
)
_code(
    "FB-OPTIM-01",
    "No parameters",
    "没有参数",
    "A module knows the layers that are assigned to self, in a ModuleList or in a Sequential.",
    "模块只知道赋给 self 的层,以及 ModuleList、Sequential 中的层。",
)
_code(
    "FB-OPTIM-02",
    "A parameter that was computed",
    "参数是算出来的",
    "Optimizers update leaves: tensors that no operation has made.",
    "优化器更新叶子张量:不是由运算得到的张量。",
)
_code(
    "FB-OLD-01",
    "A spelling of PyTorch before 0.4",
    "PyTorch 0.4 以前的写法",
    "loss.data[0] is loss.item() today; flambeau run --legacy lets the old one work.",
    "loss.data[0] 现在写 loss.item();flambeau run --legacy 允许旧写法。",
)
_code(
    "FB-LOSS-01",
    "Scores for probabilities",
    "把得分当概率",
    "BCELoss takes probabilities, BCEWithLogitsLoss scores.",
    "BCELoss 要概率,BCEWithLogitsLoss 要得分。",
)
_code(
    "FB-LOSS-02",
    "A column against a row",
    "列与行相减",
    "(N, 1) and (N,) broadcast to (N, N): each answer meets every target.",
    "(N, 1) 与 (N,) 广播成 (N, N):每个输出都与所有目标相比。",
)
_code(
    "FB-LOSS-03",
    "softmax before CrossEntropyLoss",
    "CrossEntropyLoss 之前用了 softmax",
    "CrossEntropyLoss takes scores; it has a log_softmax inside.",
    "CrossEntropyLoss 要得分;内部已有 log_softmax。",
)
_code(
    "FB-LOSS-04",
    "sigmoid before BCEWithLogitsLoss",
    "BCEWithLogitsLoss 之前用了 sigmoid",
    "BCEWithLogitsLoss takes scores; it has a sigmoid inside.",
    "BCEWithLogitsLoss 要得分;内部已有 sigmoid。",
)
_code(
    "FB-LOSS-05",
    "NLLLoss without logarithms",
    "NLLLoss 之前没有取对数",
    "NLLLoss takes the logarithms of probabilities: log_softmax.",
    "NLLLoss 要概率的对数:log_softmax。",
)
_code(
    "FB-LOOP-01",
    "Gradients are never zeroed",
    "梯度没有清零",
    "backward() adds to .grad; zero_grad() begins anew.",
    "backward() 把梯度累加到 .grad;zero_grad() 重新开始。",
)
_code("FB-LOOP-02", "A method is named but not called", "方法没有被调用", "Without () nothing is called.", "没有 () 就没有调用。")
_code(
    "FB-LOOP-03",
    "The update does not use the gradient",
    "更新没有用梯度",
    "Gradient descent is w -= lr * w.grad.",
    "梯度下降是 w -= lr * w.grad。",
)
_code(
    "FB-LOOP-04",
    "A setting that is changed too late",
    "设置改得太晚",
    "An optimizer takes the value of lr when it is made; later it is in optimizer.param_groups.",
    "优化器在建立时取 lr 的值;之后要改 optimizer.param_groups。",
)
_code("FB-LOOP-05", "The targets are not used", "没有用到目标", "A loss compares answers with targets.", "损失是输出与目标的比较。")
_code(
    "FB-LOOP-06",
    "step() is missing",
    "缺少 step()",
    "backward() computes gradients, step() uses them.",
    "backward() 计算梯度,step() 使用梯度。",
)
_code(
    "FB-PARAM-01",
    "A parameter without initial values",
    "参数没有初始化",
    "torch.Tensor(n, m) and torch.empty give whatever the memory held.",
    "torch.Tensor(n, m) 和 torch.empty 里是内存中的任意值。",
)
_code(
    "FB-PARAM-02",
    "Layers in a plain list or dict",
    "层在普通列表或字典里",
    "nn.ModuleList and nn.ModuleDict register layers; lists and dicts do not.",
    "nn.ModuleList 和 nn.ModuleDict 会登记层;普通列表和字典不会。",
)
_code(
    "FB-PARAM-03",
    "Parameters in no optimizer",
    "参数不在优化器里",
    "An optimizer updates what it was given, nothing else.",
    "优化器只更新给它的参数。",
)
_code(
    "FB-PARAM-04",
    "A layer that was replaced",
    "层被替换",
    "An optimizer keeps the parameters that it was given; make it after the net is complete.",
    "优化器保留当初给它的参数;网络完成后再建优化器。",
)
_code(
    "FB-PARAM-05",
    "A parameter without gradient",
    "参数没有梯度",
    "A gradient reaches what the loss was computed from, unless detach(), .data or no_grad() is between.",
    "梯度到达参与计算损失的参数,除非中间有 detach()、.data 或 no_grad()。",
)
_code(
    "FB-MODE-01",
    "Training mode in a test",
    "测试时处于训练模式",
    "model.eval() turns dropout off and has batch norm use what it has learnt.",
    "model.eval() 关闭 dropout,并让 batch norm 使用学到的统计量。",
)
_code(
    "FB-MODE-02",
    "Eval mode in training",
    "训练时处于评估模式",
    "model.train() turns dropout and batch norm on again after a test.",
    "测试之后用 model.train() 重新打开 dropout 和 batch norm。",
)
_code(
    "FB-MODE-03",
    "A graph in a test",
    "测试时记录了计算图",
    "Under torch.no_grad() nothing is recorded.",
    "在 torch.no_grad() 下不记录计算图。",
)
_code(
    "FB-MEMORY-01",
    "A sum that keeps graphs",
    "累加保留了计算图",
    "loss.item() is a number; the tensor holds on to its graph.",
    "loss.item() 是数;张量会一直保留它的计算图。",
)
_code(
    "FB-NUMBER-01",
    "The first NaN or infinity",
    "第一个 NaN 或无穷",
    "0 divided by 0, log of 0, roots of negative numbers, overflow: from there on all is NaN.",
    "0 除以 0、log(0)、负数开方、溢出:从那里起全是 NaN。",
)
_code(
    "FB-NUMBER-02",
    "float64 creeps in",
    "混入 float64",
    "float32 with a float64 tensor gives float64.",
    "float32 与 float64 张量运算得 float64。",
)
_code(
    "FB-NUMBER-03",
    "A learning rate that explodes",
    "学习率过大",
    "Too large a step goes beyond the minimum, farther each time.",
    "步子太大会越过最小值,越走越远。",
)
_code(
    "FB-NUMBER-04",
    "A dead ReLU",
    "ReLU 失活",
    "A ReLU whose inputs are all negative gives zeros, and no gradient.",
    "输入全为负的 ReLU 输出全零,也没有梯度。",
)
_code(
    "FB-NUMBER-05",
    "Gradients vanish",
    "梯度消失",
    "Each layer multiplies the gradient; many small factors leave nothing.",
    "每层都乘上一个因子;许多小因子相乘就什么也不剩。",
)
_code(
    "FB-DATA-01",
    "Data in the order of their classes",
    "数据按类别排列",
    "Batches are to be mixed: shuffle=True.",
    "每批数据应混合各类:shuffle=True。",
)
_code(
    "FB-CALL-02",
    "An argument is missing",
    "缺少参数",
    "Parameters without a default must be given in the call.",
    "没有默认值的参数在调用时必须给出。",
)
_code(
    "FB-CALL-03",
    "A keyword that there is not",
    "没有这个关键字参数",
    "Keywords are spelt as in the signature: help(nn.Linear).",
    "关键字参数要与签名一致:help(nn.Linear)。",
)
_code(
    "FB-CALL-04",
    "A method that is not called",
    "方法没有加括号",
    "model.parameters is the method, model.parameters() what it gives.",
    "model.parameters 是方法,model.parameters() 才是结果。",
)
_code(
    "FB-CALL-05",
    "A value that is called",
    "把值当方法调用",
    "x.shape is a value, x.size() a method.",
    "x.shape 是值,x.size() 是方法。",
)
_code(
    "FB-CALL-06",
    "Other arguments than the op takes",
    "参数与运算不符",
    "The message lists what the op takes.",
    "错误信息列出了该运算接受的参数。",
)
_code(
    "FB-GRAPH-08",
    "Backward of a Python number",
    "对 Python 数反向",
    "item() gives a number, which has no graph.",
    "item() 得到的是数,没有计算图。",
)
_code(
    "FB-GRAPH-09",
    "A computed tensor where a leaf is wanted",
    "需要叶子张量",
    "Only leaves can change requires_grad or be copied deeply; detach() makes one.",
    "只有叶子能改 requires_grad 或深拷贝;detach() 得到叶子。",
)
_code(
    "FB-TYPE-11", "A tensor with a list", "张量与列表运算", "Arithmetic is between tensors and numbers.", "运算在张量和数之间进行。"
)
_code(
    "FB-TYPE-12",
    "Two results where one is meant",
    "得到两个结果",
    "max, sort and their like along a dim give (values, indices).",
    "沿维的 max、sort 等返回 (values, indices)。",
)
_code("FB-TYPE-13", "The state of an LSTM", "LSTM 的状态", "An LSTM has two states, (h, c).", "LSTM 有两个状态 (h, c)。")
_code(
    "FB-OPTIM-03",
    "One tensor for a list of them",
    "把一个张量当列表",
    "An optimizer takes an iterable of parameters.",
    "优化器要的是参数的可迭代对象。",
)
_code(
    "FB-OPTIM-04",
    "A setting out of its range",
    "设置超出范围",
    "Learning rates are numbers of 0 or more.",
    "学习率是不小于 0 的数。",
)
_code(
    "FB-STATE-02",
    "A path where the state belongs",
    "路径与状态写反",
    "torch.save(state, path) writes, torch.load(path) reads, and load_state_dict takes what it gives.",
    "torch.save(state, path) 写文件,torch.load(path) 读文件,load_state_dict 接受读到的结果。",
)
_code(
    "FB-MODULE-04",
    "A parameter is given a plain tensor",
    "给参数赋普通张量",
    "What was registered as a parameter or layer stays one.",
    "登记为参数或层的名字只能再赋参数或层。",
)
_code(
    "FB-DATA-02",
    "Data that are no table of numbers",
    "数据不是数的表格",
    "A tensor has rows of one length, and holds numbers.",
    "张量各行长度相同,只存数。",
)
_code(
    "FB-DATA-03",
    "A data set without length",
    "数据集没有长度",
    "A Dataset has __getitem__ and __len__.",
    "Dataset 要有 __getitem__ 和 __len__。",
)
_code("FB-DEVICE-01", "A device that is not here", "这里没有的设备", "flambeau computes on the CPU.", "flambeau 在 CPU 上计算。")
_code(
    "FB-SHAPE-12",
    "Batch norm of another number of features",
    "batch norm 的特征数不符",
    "num_features is the size of dim 1.",
    "num_features 是第 1 维的大小。",
)
_code(
    "FB-SHAPE-13",
    "A recurrent layer of other sizes",
    "循环层的大小不符",
    "Inputs are (steps, N, features), with batch_first=True (N, steps, features).",
    "输入是 (步数, N, 特征),batch_first=True 时是 (N, 步数, 特征)。",
)
_code(
    "FB-SHAPE-14",
    "A matrix and a vector",
    "矩阵与向量",
    "(n, m) @ (m,) gives (n,); mm takes matrices alone.",
    "(n, m) @ (m,) 得 (n,);mm 只接受矩阵。",
)
_code(
    "FB-SHAPE-15",
    "A kernel larger than the picture",
    "卷积核比图像大",
    "Each pool halves a picture; after some of them nothing is left.",
    "每次池化图像减半,几次之后就没有了。",
)
_code(
    "FB-SHAPE-16",
    "Not every dim is named",
    "没有列出每一维",
    "permute names every dim, transpose two.",
    "permute 列出每一维,transpose 列出两维。",
)
_code(
    "FB-SHAPE-17",
    "Heads that do not divide the width",
    "头数不能整除宽度",
    "embed_dim is a multiple of num_heads.",
    "embed_dim 是 num_heads 的倍数。",
)
_code("FB-SHAPE-18", "Nothing to join", "没有可连接的", "stack and cat take at least one tensor.", "stack 和 cat 至少要一个张量。")
_code(
    "FB-INDEX-01",
    "A word beyond the table",
    "词号超出词表",
    "nn.Embedding(n, d) has rows 0 to n - 1.",
    "nn.Embedding(n, d) 的行号是 0 到 n - 1。",
)
_code(
    "FB-INDEX-02",
    "A mask of another shape",
    "掩码形状不符",
    "A mask has the shape of what it picks from.",
    "掩码与被取的张量形状相同。",
)
_code("FB-DTYPE-07", "Truths are no numbers", "真假值不是数", "~ is not, & and, | or.", "~ 是非,& 是与,| 是或。")
_code(
    "FB-CLASS-05",
    "Target and scores in the wrong order",
    "得分与目标写反",
    "cross_entropy(scores, target).",
    "cross_entropy(scores, target)。",
)
_code(
    "FB-LOSS-06",
    "A target of another shape",
    "目标形状不同",
    "BCELoss and BCEWithLogitsLoss want equal shapes.",
    "BCELoss 和 BCEWithLogitsLoss 要求形状相同。",
)
_code("FB-RANGE-01", "A probability beyond 1", "概率大于 1", "Probabilities are between 0 and 1.", "概率在 0 与 1 之间。")
_code(
    "FB-GRAPH-10",
    "A loss that was made a leaf",
    "损失成了叶子",
    "torch.tensor(loss) and .data give values without their graph.",
    "torch.tensor(loss) 和 .data 只有值,没有计算图。",
)
_code(
    "FB-LOOP-07",
    "No gradient is left for step()",
    "step() 时已没有梯度",
    "zero_grad(), backward(), step(): in this order.",
    "顺序是 zero_grad()、backward()、step()。",
)
_code(
    "FB-MODE-04",
    "F.dropout in eval mode",
    "评估模式下的 F.dropout",
    "F.dropout drops unless it is told training=False.",
    "F.dropout 默认总在丢弃,除非 training=False。",
)
_code(
    "FB-NUMBER-06",
    "A learning rate that does nothing",
    "学习率过小",
    "Steps that are far too small leave everything where it is.",
    "步子太小,一切都不动。",
)
_code(
    "FB-PARAM-06",
    "A tensor that is no parameter",
    "张量不是参数",
    "nn.Parameter registers a tensor with its module.",
    "nn.Parameter 把张量登记到模块。",
)
_code("FB-LOSS-07", "softmax over the batch", "对批做 softmax", "Classes are in dim 1 of (N, C).", "(N, C) 中类别在第 1 维。")
_code(
    "FB-SYNTAX-04",
    "Indentation",
    "缩进",
    "Blocks are told by their indentation: four spaces a level.",
    "代码块由缩进表示:每层四个空格。",
)
_code(
    "FB-SYNTAX-05",
    "Something that Python cannot read",
    "Python 读不懂的语句",
    "One statement a line; values are separated by commas; print is a function.",
    "一行一条语句;值之间用逗号;print 是函数。",
)
_code(
    "FB-CALL-07",
    "Too many arguments",
    "参数过多",
    "A net is made first, Net(), and then called with data; methods have self first.",
    "先建网络 Net(),再用数据调用;方法的第一个参数是 self。",
)
_code(
    "FB-CALL-08",
    "A module for the class in it",
    "把模块当类",
    "torch.optim.sgd is a file, torch.optim.SGD the optimizer.",
    "torch.optim.sgd 是文件,torch.optim.SGD 才是优化器。",
)
_code(
    "FB-CLASS-06", "Scores of sequences", "序列的得分", "cross_entropy takes classes in dim 1.", "cross_entropy 的类别在第 1 维。"
)
_code(
    "FB-DATA-04",
    "Inputs and targets of other numbers",
    "输入与目标行数不同",
    "Row i of the inputs belongs to row i of the targets.",
    "输入的第 i 行对应目标的第 i 行。",
)
_code(
    "FB-DATA-05",
    "Rows of the test in the training data",
    "测试数据混入了训练数据",
    "A test says something about rows that the net has not seen.",
    "测试要用网络没有见过的数据。",
)
_code(
    "FB-DATA-06",
    "A loader slower than the step",
    "加载比训练步骤慢",
    "While the program waits for a batch, nothing is learnt.",
    "等待数据时,什么也学不到。",
)
_code(
    "FB-PARAM-07",
    "Linear layers in a row",
    "线性层直接相连",
    "Two linear layers without an activation between them compute what one computes.",
    "两个线性层之间没有激活函数,就等于一个线性层。",
)
_code(
    "FB-STATE-03",
    "A key that the state does not have",
    "状态里没有这个键",
    "Keys are the names of layers and parameters, joined by dots.",
    "键是层名与参数名,用点连接。",
)
_code(
    "FB-CALL-09",
    "A size that is no integer",
    "大小不是整数",
    "Sizes are integers; in Python / gives a float and // an integer.",
    "大小是整数;Python 里 / 得到浮点数,// 得到整数。",
)
_code(
    "FB-OPTIM-05",
    "A scheduler of something else than an optimizer",
    "给调度器的不是优化器",
    "A scheduler is made of an optimizer, whose learning rates it changes.",
    "调度器由优化器建立,改变它的学习率。",
)
_code(
    "FB-OPTIM-06",
    "An optimizer made anew in each step",
    "每一步都新建优化器",
    "An optimizer keeps what it has seen of gradients (momentum, Adam's means): made anew, it has forgotten it.",
    "优化器保存它见过的梯度(动量、Adam 的平均);重新建立就忘了。",
)
_code(
    "FB-NUMBER-07",
    "A learning rate that has died",
    "学习率已经消失",
    "A scheduler's step is counted by its calls: what is meant for epochs dies when it is called for each batch.",
    "调度器按调用次数计数:为 epoch 设的调度器若每批都调用,学习率很快就没了。",
)
_code(
    "FB-TYPE-14",
    "A format for one number, given many",
    "单个数的格式用在多个数上",
    "f'{x:.2f}' is for one number; tolist() gives Python numbers.",
    "f'{x:.2f}' 只用于一个数;tolist() 给出 Python 数。",
)
_code("FB-TYPE-15", "A loop over one number", "遍历单个数", "A tensor without dims is one number.", "没有维度的张量是一个数。")
_code(
    "FB-DATA-07",
    "An array of objects",
    "对象数组",
    "Tensors hold numbers of one dtype; NumPy's arrays may hold anything.",
    "张量存同一类型的数;NumPy 数组什么都能存。",
)
_code(
    "FB-DATA-08",
    "A batch with other parts",
    "批的组成不符",
    "A batch has the parts that each sample of the data set has.",
    "一批的组成与数据集中一个样本的相同。",
)
_code(
    "FB-DATA-09",
    "A file that is not there",
    "文件不存在",
    "Names of files are looked up from the folder in which the program was started, not from that of the script.",
    "文件名从程序启动时所在的文件夹找起,不是从脚本所在的文件夹。",
)
_code(
    "FB-NAME-08",
    "A method of another object",
    "别的对象的方法",
    "The loss has backward(), the optimizer step() and zero_grad(), the model parameters(), train() and eval().",
    "损失有 backward(),优化器有 step() 和 zero_grad(),模型有 parameters()、train() 和 eval()。",
)
_code(
    "FB-DATA-10",
    "The number of a batch for the batch",
    "把批的序号当成了批",
    "enumerate(loader) gives pairs of a number and a batch: for i, (x, y) in enumerate(loader).",
    "enumerate(loader) 给出(序号, 批):for i, (x, y) in enumerate(loader)。",
)
_code(
    "FB-DATA-11",
    "Parts that are not the whole",
    "各部分之和不是全部",
    "random_split takes numbers that add up to the length, or shares that add up to 1.",
    "random_split 要的是总和等于长度的个数,或总和为 1 的比例。",
)
_code(
    "FB-DATA-12",
    "A sample that is None",
    "样本是 None",
    "A function without return gives None, __getitem__ too.",
    "没有 return 的函数返回 None,__getitem__ 也一样。",
)
_code(
    "FB-LOOP-08",
    "A number that is gone through",
    "对一个数做循环",
    "for goes through lists and ranges: range(n) has the n numbers from 0.",
    "for 遍历的是列表或 range:range(n) 是从 0 起的 n 个数。",
)
_code(
    "FB-STATE-04",
    "Weights for a model",
    "把权重当成模型",
    "A state_dict is a table of names and tensors. The model, which computes, is made by its class and loads them.",
    "state_dict 是名字和张量的表。计算用的模型由类建立,再读入它。",
)
_code(
    "FB-STATE-05",
    "A file with more than tensors",
    "文件里不只有张量",
    "torch.load reads tensors and plain containers; objects of classes only where that is allowed, as a file may be a stranger's.",
    "torch.load 只读张量和普通容器;文件可能来自他人,读类的对象要明确允许。",
)
_code(
    "FB-GRAPH-11",
    "An autograd Function that is called",
    "直接调用 autograd Function",
    "A Function has no objects: MyFunction.apply(x) computes, and records how to go back.",
    "Function 不建对象:MyFunction.apply(x) 计算并记录如何反传。",
)
_code(
    "FB-GRAPH-12",
    "saved_tensors without a comma",
    "saved_tensors 少了逗号",
    "ctx.saved_tensors is a tuple of all that was saved: x, = ctx.saved_tensors for one.",
    "ctx.saved_tensors 是全部所存张量的元组:只有一个时写 x, = ctx.saved_tensors。",
)
_code(
    "FB-GRAPH-13",
    "Too few or too many gradients",
    "梯度个数不对",
    "backward of a Function gives as many results as forward takes inputs, None where there is no gradient.",
    "Function 的 backward 给出的结果与 forward 的输入一样多,没有梯度的给 None。",
)
_code(
    "FB-MODULE-05",
    "A lazy layer before its first batch",
    "惰性层还没见过数据",
    "Lazy layers have no weights until the first batch says how many features there are.",
    "惰性层在第一批数据说明特征数之前没有权重。",
)
_code(
    "FB-TYPE-16",
    "A tuple by accident",
    "不小心成了元组",
    "A comma at the end of a line makes a tuple of one; several results of a layer are a tuple too.",
    "行末的逗号会建成一个元素的元组;层的几个结果也是元组。",
)
_code(
    "FB-TYPE-17",
    "Text and a tensor",
    "文字与张量相加",
    "Text is joined with text: print takes several things, and f'{x}' puts values into text.",
    "文字只能与文字相接:print 可以接受多个值,f'{x}' 把值放进文字。",
)
_code(
    "FB-CALL-10",
    "A with without brackets",
    "with 后面少了括号",
    "torch.no_grad is a class; with wants an object: with torch.no_grad():.",
    "torch.no_grad 是类;with 要的是对象:with torch.no_grad():。",
)
_code(
    "FB-OPTIM-07",
    "One beta for two",
    "betas 只给了一个数",
    "Arguments without names go by their place: the third of Adam is betas, a pair. Name them: momentum=, weight_decay=.",
    "不写名字的参数按位置传:Adam 的第三个是 betas,是一对数。请写名字:momentum=、weight_decay=。",
)
_code(
    "FB-DTYPE-08",
    "A dtype in quotes",
    "dtype 加了引号",
    "dtypes are objects: torch.float32. NumPy takes text as well, torch does not.",
    "dtype 是对象:torch.float32。NumPy 也接受文字,torch 不接受。",
)
_code(
    "FB-SHAPE-19",
    "A matrix's initial values for a vector",
    "给向量用了矩阵的初始化",
    "Xavier and Kaiming look at the inputs and outputs of a weight matrix; a bias starts at 0.",
    "Xavier 和 Kaiming 看权重矩阵的输入输出个数;偏置从 0 开始。",
)
_code(
    "FB-SHAPE-20",
    "Batch norm of one sample",
    "batch norm 只有一个样本",
    "In training batch norm takes mean and variance over the batch, so it needs more than one value; in eval it uses those it has seen.",
    "训练时 batch norm 在一批上求均值和方差,所以不能只有一个值;eval 时用以前记下的。",
)
_code(
    "FB-SHAPE-21",
    "An update in place that would grow",
    "就地更新会改变形状",
    "What is written to in place keeps its shape; x + y may have a larger one.",
    "就地写入的张量形状不变;x + y 的形状可能更大。",
)

_code(
    "FB-LOOP-09",
    "A seed in every step",
    "每一步都设种子",
    "A seed begins the stream of random numbers anew: once at the start of a program makes it repeatable.",
    "种子让随机数从头开始:程序开头设一次就可以重现。",
)
_code(
    "FB-LOOP-10",
    "Gradients clipped after the step",
    "更新之后才裁剪梯度",
    "A step is zero_grad, backward, clip, step, in this order.",
    "一步的顺序是 zero_grad、backward、裁剪、step。",
)
_code(
    "FB-LOOP-11",
    "The step stands behind the loop",
    "更新写在循环之后",
    "What belongs to each batch is indented as far as the loss: zero_grad, backward, step.",
    "每批都要做的与损失缩进相同:zero_grad、backward、step。",
)
_code(
    "FB-SHAPE-22",
    "Steps taken for the batch",
    "把步当成了批",
    "Recurrent layers take (steps, N, features); with batch_first=True (N, steps, features).",
    "循环层接受 (步数, N, 特征);batch_first=True 时是 (N, 步数, 特征)。",
)
