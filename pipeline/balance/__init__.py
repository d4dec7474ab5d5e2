"""Balance: a list of queries, what of it each caption names, and the cap on what is named too often (WIT, MetaCLIP).

The parts, from the file to the cap:

    entries.py    the list file: entries with their origins
    folding.py    texts as they are compared: folded, and cut at word borders
    index.py      all entries at once: one memory-mapped file a machine, looked up by whole batches
    wordnet.py    lemmas of a WordNet folder
    build.py      a list out of WordNet, texts, titles and numbers (counts on Spark)
    cap.py        draws, keep-probabilities and counts as Spark columns

A matched entry is written as its text, never as its number in the list: a number means nothing without the list, and
would move every draw when an entry is added. The sources are Radford et al. 2021 (arXiv 2103.00020, section 2.2) and
Xu et al., "Demystifying CLIP Data", 2023 (arXiv 2309.16671, section 3); the code is ours.
"""
