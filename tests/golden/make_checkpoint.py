"""Make `checkpoint_v1.safetensors`, the file of the first format version, and `checkpoint_v1.json`, what is in it.

Both are made once and kept: later versions load the file, and none writes it anew.

    python -m tests.golden.make_checkpoint
"""

import json

from tests.golden.checkpoint import EXTRA, FILE, LAST, OBSERVED, SAVED, VALUES, plateau, run, summary, updater, weights


def main() -> None:
    if FILE.exists():
        raise SystemExit(f"{FILE} is there, and is kept as it is")
    update, arrays = updater(), weights()
    for metric in OBSERVED[:3]:
        plateau(update).observe(metric)
    run(update, arrays, SAVED)
    update.save(FILE, weights=arrays, extra=EXTRA)
    saved = summary(update, arrays)
    for metric in OBSERVED[3:]:
        plateau(update).observe(metric)
    run(update, arrays, LAST)
    VALUES.write_text(json.dumps({"saved": saved, "went_on": summary(update, arrays)}, indent=1) + "\n")
    print(f"{FILE}: {FILE.stat().st_size} bytes; {VALUES}: {VALUES.stat().st_size}")


if __name__ == "__main__":
    main()
