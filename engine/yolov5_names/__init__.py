"""What `utils` and `models.experimental` hand on: functions of this project under YOLOv5's names and in its forms.

Images are BGR here as OpenCV reads them, boxes are changed in place where YOLOv5 changes them, and the order of the
arguments is YOLOv5's.
"""
