"""``flambeau board``: a local page on the event files that ``SummaryWriter`` writes, of one run or many, while they grow.

- ``events``: records of event files, and the messages in them; ``runs``: what a folder of runs has, kept up to date;
- ``series``: numbers made as few as a chart can show; ``app``: the pages and the questions that they ask.
"""
