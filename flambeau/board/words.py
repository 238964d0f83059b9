"""What the board says, in both languages."""

from __future__ import annotations

from flambeau.diagnosis.language import Text

WORDS = {
    "scalars": Text("scalars", "标量"),
    "histograms": Text("histograms", "直方图"),
    "images": Text("images", "图像"),
    "audio": Text("audio", "音频"),
    "text": Text("text", "文本"),
    "curves": Text("precision", "精确率"),
    "hparams": Text("settings", "超参数"),
    "graphs": Text("graph", "计算图"),
    "precision": Text("precision", "精确率"),
    "recall": Text("recall", "召回率"),
    "run": Text("run", "运行"),
    "operations": Text("operations", "个运算"),
    "weights": Text("parameter tensors", "个参数张量"),
    "fold": Text("fold", "折叠"),
    "unfold": Text("click a module to see what is in it", "点击模块查看内部"),
    "sort": Text("click a column to sort by it", "点击列名排序"),
    "compare": Text("compare", "比较"),
    "runs": Text("runs", "运行"),
    "filterRuns": Text("filter runs", "筛选运行"),
    "filterTags": Text("filter tags", "筛选标签"),
    "smoothing": Text("smoothing", "平滑"),
    "axis": Text("horizontal axis", "横轴"),
    "step": Text("step", "步"),
    "relative": Text("seconds", "秒"),
    "wall": Text("time", "时间"),
    "log": Text("logarithmic", "对数纵轴"),
    "live": Text("live", "实时"),
    "reading": Text("reading ...", "读取中……"),
    "all": Text("all", "全选"),
    "none": Text("none", "不选"),
    "last": Text("last", "最后"),
    "least": Text("least", "最小"),
    "largest": Text("largest", "最大"),
    "tag": Text("tag", "标签"),
    "points": Text("points", "个点"),
    "nothing": Text("Nothing to show here yet: SummaryWriter writes it.", "这里还没有内容:由 SummaryWriter 写入。"),
    "zoom": Text("drag to zoom, double click to see all", "拖动放大,双击还原"),
    "gone": Text("the board has ended", "面板程序已结束"),
}
"""By the key that the page's program asks for."""
