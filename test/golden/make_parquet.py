"""Writes preference.parquet, two comparisons as Hugging Face datasets writes them (nested lists of structs, integers of 64
bits, a null), compressed with zstd. With a file's path it checks that one that plumbline wrote holds the same instead.

    pip install datasets==5.2.0 pyarrow==26.0.1
    python make_parquet.py [FILE]
"""
import sys
from pathlib import Path

import pyarrow.parquet as pq
from datasets import Dataset, Features, List, Value

hostile = "‮<script>\r\n\"it's\", 1;2\t'é' 👩‍🚀\u0000"
message = {"role": Value("string"), "content": Value("string")}
rows = [
    {
        "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": hostile}],
        "chosen": [{"role": "assistant", "content": "42"}],
        "rejected": [{"role": "assistant", "content": hostile + "no"}],
        "labeler": "007",
        "strength": 3,
        "models": ["a", None],
        "weight": 0.25,
    },
    {
        "prompt": [{"role": "user", "content": "[1, 2]"}],
        "chosen": [{"role": "assistant", "content": "true"}],
        "rejected": [{"role": "assistant", "content": " null "}],
        "labeler": None,
        "strength": 1,
        "models": None,
        "weight": 1.0,
    },
]
if len(sys.argv) > 1:
    assert Dataset.from_parquet(sys.argv[1]).to_list() == rows
    print("the same")
else:
    features = Features(
        prompt=List(message), chosen=List(message), rejected=List(message), labeler=Value("string"),
        strength=Value("int64"), models=List(Value("string")), weight=Value("float64"),
    )
    table = Dataset.from_list(rows, features=features).data.table
    pq.write_table(table, Path(__file__).parent / "preference.parquet", compression="zstd")
