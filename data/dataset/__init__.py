"""From a data set's YAML to image files and checked labels.

`dataset_yaml.load_dataset` reads the YAML, `label_scan` the labels, `label_cache` keeps what was read. No torch.
"""
