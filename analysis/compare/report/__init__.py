"""A comparison as one offline page, Markdown tables and charts; `write_report` is the door."""
