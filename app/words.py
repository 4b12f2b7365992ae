"""Every word of the page in English and Chinese. Messages of the engine are those of the command line, in English."""

from __future__ import annotations

LANGUAGES = ("en", "zh")

_SHELL = {
    "title": ("YOLOv5 with attention", "YOLOv5 与注意力"),
    "language": ("English", "中文"),
    "not_done": ("Not done", "未完成"),
    "detect_tab": ("Detect", "检测"),
    "insert_tab": ("Insert", "插入"),
    "train_tab": ("Train", "训练"),
    "compare_tab": ("Compare", "比较"),
    "data_tab": ("Data", "数据"),
}

_DETECT = {
    "weights": ("Weights", "权重"),
    "weights_info": (
        "A file from the list, or a path below the folders of the page",
        "列表中的文件，或页面文件夹内的路径",
    ),
    "own_weights": ("Or your own .pt file", "或上传自己的 .pt 文件"),
    "confidence": ("Confidence", "置信度"),
    "iou": ("IoU of the suppression (NMS)", "NMS 的 IoU 阈值"),
    "size": ("Image size, px", "图像尺寸（像素）"),
    "classes": ("Classes", "类别"),
    "classes_info": ("Empty: all", "留空：全部"),
    "heat": ("Heat map", "热力图"),
    "heat_info": ("What the model looked at", "模型关注的区域"),
    "heat_none": ("None", "无"),
    "heat_cam": ("Of the detections (cam)", "检测框（cam）"),
    "heat_gates": ("Of the attention (gates)", "注意力（gates）"),
    "image": ("Image", "图像"),
    "files": ("Zip or video", "压缩包或视频"),
    "camera": ("Camera", "摄像头"),
    "image_in": ("Drop, paste or choose an image", "拖入、粘贴或选择图像"),
    "image_out": ("Detections", "检测结果"),
    "detect": ("Detect", "检测"),
    "took": (
        "{height}×{width} px: {prepare:.1f} ms preparing, **{network:.1f} ms network**, {nms:.1f} ms NMS",
        "{height}×{width} 像素：预处理 {prepare:.1f} 毫秒，**网络 {network:.1f} 毫秒**，NMS {nms:.1f} 毫秒",
    ),
    "counts": ("Counts", "计数"),
    "class": ("Class", "类别"),
    "count": ("Count", "数量"),
    "boxes": ("Boxes, px", "检测框（像素）"),
    "downloads": ("Download", "下载"),
    "files_in": ("A zip of images, or a video", "图像压缩包（zip）或视频"),
    "stride": ("Of a video, every n-th frame", "视频每隔 n 帧"),
    "video_out": ("Video with detections", "带检测框的视频"),
    "pictures_out": ("The first {count} images; the download has all", "前 {count} 张图像；下载中有全部"),
    "files_done": (
        "Done: {count} images or videos. Could not be used: {failed}",
        "完成：{count} 个图像或视频。无法使用：{failed}",
    ),
    "none": ("none", "无"),
    "no_image": ("Give an image first.", "请先选择图像。"),
    "no_file": ("Give a zip or a video first.", "请先选择压缩包或视频。"),
    "nothing_read": ("Nothing could be read as an image or a video.", "没有可读取的图像或视频。"),
}

_INSERT = {
    "cfg": ("Model (YAML)", "模型（YAML）"),
    "start_weights": ("Weights to start from", "起始权重"),
    "module": ("Attention module", "注意力模块"),
    "options": ("Options", "选项"),
    "options_info": ("It takes {takes}; start='identity' or 'paper'", "可用：{takes}；start='identity' 或 'paper'"),
    "places": ("Places", "位置"),
    "places_info": ("Names or numbers of rows; or click in the graph", "名称或行号；也可在图中点击"),
    "no_place": ("Choose at least one place, e.g. by a click in the graph.", "请至少选择一个位置，例如在图中点击。"),
    "try": ("Try", "试插入"),
    "graph_info": (
        "Row, module, channels and stride. A click inserts behind a row; blue ones have a name.",
        "行号、模块、通道数和步长。点击一行即在其后插入；蓝框的行有名称。",
    ),
    "identical": (
        "Outputs equal to the base with identity start: **yes, bit for bit** (one image, fp32, just checked)",
        "恒等启动时输出与基础模型相同：**是，逐位相同**（一张图像，fp32，刚刚验证）",
    ),
    "not_identical": (
        "Outputs equal to the base with identity start: **no** (one image, fp32, just checked)",
        "恒等启动时输出与基础模型相同：**否**（一张图像，fp32，刚刚验证）",
    ),
    "costs": ("Cost", "开销"),
    "figure": ("Figure", "指标"),
    "base": ("Base", "基础模型"),
    "changed": ("With attention", "加注意力后"),
    "parameters": ("Parameters", "参数量"),
    "macs": ("Multiply-adds of 320 px, M", "320 像素的乘加次数（百万）"),
    "latency_ms": ("Latency of 320 px here, ms", "本机 320 像素延迟（毫秒）"),
    "rows": ("Rows: + is inserted, → a changed from", "各行：+ 为新插入，→ 表示 from 已改变"),
    "old_row": ("Old", "旧行"),
    "new_row": ("New", "新行"),
    "row": ("Row", "行内容"),
    "tensors": ("What becomes of the weights", "权重的去向"),
    "command": ("To train it (change the data set)", "训练命令（请更改数据集）"),
    "download_yaml": ("Download the YAML", "下载 YAML"),
    "yaml": ("New layer list", "新的层列表"),
}

_TRAIN = {
    "attention": ("Attention", "注意力"),
    "attention_info": ("As the tab Insert writes it; empty for none", "写法同“插入”页；留空则不插入"),
    "epochs": ("Epochs", "轮数"),
    "batch": ("Batch", "批大小"),
    "device": ("Device", "设备"),
    "name": ("Name of the run", "运行名称"),
    "start": ("Start", "开始"),
    "stop": ("Stop; the last full epoch stays", "停止（保留最后完整的一轮）"),
    "resume": ("Resume", "继续训练"),
    "run": ("Run", "运行"),
    "run_line": ("**{state}**, {done} of {asked} epochs", "**{state}**，已完成 {done}/{asked} 轮"),
    "run_left": (", {left} left", "，剩余 {left}"),
    "running": ("running", "运行中"),
    "not_running": ("not running", "未运行"),
    "stopped": ("stopped", "已停止"),
    "finished": ("finished", "已完成"),
    "failed": ("failed", "失败"),
    "epoch": ("Epoch", "轮"),
    "losses": ("Training losses", "训练损失"),
    "maps": ("mAP on the validation images", "验证集 mAP"),
    "log": ("Log", "日志"),
    "no_data": ("Choose a data set first.", "请先选择数据集。"),
    "bad_name": ("{name!r}: expected a name for a folder, without slashes", "{name!r}：应为不含斜杠的文件夹名"),
}

_COMPARE = {
    "reports": ("Reports", "报告"),
    "report": ("Report", "报告"),
    "no_report": ("{file}: expected the index.html of a comparison", "{file}：应为比较报告的 index.html"),
    "new_comparison": ("Start and watch", "开始与查看"),
    "attentions": ("Compared", "比较对象"),
    "attentions_info": ("none is the baseline", "none 为基线"),
    "at_info": ("Joined by commas: together; by spaces: in turn", "逗号连接：同时插入；空格分隔：逐个比较"),
    "seeds": ("Seeds", "随机种子数"),
    "estimate": ("Estimate of the time", "估计时间"),
    "comparison": ("Comparison", "比较"),
    "go_on": ("Go on", "继续"),
    "waiting": ("waiting", "等待"),
    "interrupted": ("interrupted", "中断"),
    "trained": ("trained", "已训练"),
}

_DATA = {
    "data": ("Data set (YAML)", "数据集（YAML）"),
    "doctor": ("Examination", "体检"),
    "doctor_weights": ("Weights that doubt labels", "用于质疑标签的权重"),
    "doctor_weights_info": ("Empty: suspected label errors are not looked for", "留空：不查找可疑标签"),
    "pixels": ("Look at the pixels", "检查像素"),
    "pixels_info": ("Duplicates, brightness, blur; takes longer", "重复、亮度、模糊；耗时较长"),
    "examine": ("Examine", "体检"),
    "browse": ("Images", "图像"),
    "split": ("Split", "划分"),
    "all": ("All", "全部"),
    "box_size": ("Size of the boxes", "框的大小"),
    "size_all": ("All", "全部"),
    "size_small": ("Small, below 32² px", "小（< 32² 像素）"),
    "size_medium": ("Medium", "中"),
    "size_large": ("Large, from 96² px", "大（≥ 96² 像素）"),
    "page": ("Page", "页"),
    "show": ("Show", "显示"),
    "images": ("Images with labels", "带标签的图像"),
    "browsed": (
        "{images} images with {boxes} such boxes; page {number} of {pages}",
        "{images} 张图像，{boxes} 个框；第 {number}/{pages} 页",
    ),
}

_WORDS = {**_SHELL, **_DETECT, **_INSERT, **_TRAIN, **_COMPARE, **_DATA}


class Words:
    """The words of one language."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._column = LANGUAGES.index(language)

    def __call__(self, key: str, **values: object) -> str:
        """A text by its key, e.g. `say("found", count=3)`."""
        return _WORDS[key][self._column].format(**values)
