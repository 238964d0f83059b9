"""What pages say, in both languages."""

from __future__ import annotations

from flambeau.diagnosis.language import Text

WORDS = {
    "search": Text("search: name, op, shape, line (/)", "搜索:名称、运算、形状、代码行 (/)"),
    "forward": Text("forward", "前向"),
    "backward": Text("backward", "反向"),
    "fusion": Text("fusion", "融合"),
    "fold": Text("fold all", "全部折叠"),
    "unfold": Text("unfold all", "全部展开"),
    "step": Text("step", "步"),
    "of": Text("of", "/"),
    "keys": Text(
        "keys: ← → one step · f / b forward, backward · Enter folds · / searches · + − zoom · Esc clears",
        "按键:← → 单步 · f / b 前向、反向 · Enter 折叠 · / 搜索 · + − 缩放 · Esc 取消",
    ),
    "pick": Text("Pick a node, or step with → ", "点击一个节点,或按 → 逐步查看"),
    "inputs": Text("inputs", "输入"),
    "value": Text("value", "值"),
    "gradient": Text("gradient of the result with respect to this value", "结果对此值的梯度"),
    "chain": Text("chain rule", "链式法则"),
    "arrives": Text("arrives as g, the gradient with respect to out", "传入的梯度记作 g(对 out 的梯度)"),
    "into": Text("goes on to", "传给"),
    "leaf": Text("a tensor from outside", "外部张量"),
    "line": Text("line", "代码行"),
    "formula": Text("formula", "公式"),
    "made": Text("computed in the backward pass", "反向过程中的计算"),
    "ran": Text("ran in", "运行于"),
    "ranBack": Text("its gradients ran in", "其梯度运行于"),
    "nothing": Text("not kept", "未保存"),
    "constant": Text("all elements are equal", "所有元素相同"),
    "zeros": Text("zeros", "零"),
    "odd": Text("NaN or infinite", "NaN 或无穷"),
    "elements": Text("elements", "个元素"),
    "mean": Text("mean", "均值"),
    "std": Text("std", "标准差"),
    "inside": Text("operations inside", "个内部运算"),
    "failed": Text("this call failed", "此调用失败"),
    "noGroups": Text("Not looked at here, or nothing was compiled.", "此处未查看融合,或没有编译。"),
    "loop": Text("loop", "循环"),
    "kernel": Text("kernel", "内核"),
    "parts": Text("what it reads and writes", "读写的内容"),
    "ir": Text("loop IR", "循环 IR"),
    "code": Text("machine code", "机器码"),
    "microseconds": Text("µs", "微秒"),
    "noGradient": Text("no gradient reaches this", "没有梯度到达这里"),
    "kernels": Text("kernels", "内核"),
    "calls": Text("calls", "次调用"),
    "recording": Text("recording", "记录"),
    "byOp": Text("by op", "按运算"),
    "byLine": Text("by line", "按代码行"),
    "byKernel": Text("by loop and kernel", "按循环和内核"),
    "searchCalls": Text("search: op, line (/)", "搜索:运算、代码行 (/)"),
    "timelineKeys": Text(
        "wheel or + − zooms, drag or ← → moves, 0 shows all; a click on a call marks its kernels", "滚轮或 + − 缩放,拖动或 ← → 移动,0 显示全部;点击调用可标出它的内核"
    ),
    "found": Text("found", "个结果"),
}
"""By the key that a page's program asks for."""
