"""Pages and pictures: the HTML report, Markdown, charts, attention and movies."""
