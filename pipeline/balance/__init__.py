"""Balance: a list of queries, the queries that each caption names, and a cap on pairs per query (WIT, MetaCLIP).

The parts, from the file to the cap:

    entries.py    the list file: entries with their origins
    folding.py    texts as they are compared: folded, and cut at word borders
    index.py      all entries at once: one memory-mapped file per machine, searched for whole batches
    wordnet.py    lemmas of a WordNet folder
    build.py      a list from WordNet, texts, titles and numbers (counted by Spark)
    cap.py        draws, keep-probabilities and counts as Spark columns

A matched entry is written as its text, never as its number in the list: a number means nothing without the list, and
all draws would change when an entry is added. The sources are Radford et al. 2021 (arXiv 2103.00020, section 2.2) and
Xu et al., "Demystifying CLIP Data", 2023 (arXiv 2309.16671, section 3); the code is pairmill's own.
"""
