"""The request log of the benchmarks: 28 days in our envelope, 9 features, 3 models, 12 keys; ids random, as real ones.

The same bytes for the same number of rows. Written once into the temporary folder and kept for the next run.
"""

import gzip
import random
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

SEED: Final = 20261125
ROWS_OF_A_PART: Final = 1_000_000
MODELS: Final = ("claude-opus-4-5-20251101", "claude-sonnet-4-6", "claude-haiku-4-5-20251001")
_LETTERS: Final = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BEGIN: Final = datetime(2026, 10, 1, tzinfo=UTC)
_SPAN: Final = timedelta(days=28)


def kept_log(rows: int, kind: str) -> Path:
    """`kind`: "one" (a single JSONL.gz), "parts" (a folder of them, a million rows each), "parquet" (one file)."""
    root = Path(tempfile.gettempdir()) / f"costgov-bench-{SEED}"
    root.mkdir(exist_ok=True)
    parts = root / f"{rows}-parts"
    if not parts.exists():
        print(f"writing {rows:,} rows …", file=sys.stderr)
        half = root / f"{rows}-parts.half"
        half.mkdir(exist_ok=True)
        count = max(1, rows // ROWS_OF_A_PART)
        jobs = [(half / f"part-{n:03}.jsonl.gz", rows // count, n, count) for n in range(count)]
        with ProcessPoolExecutor(2) as pool:
            list(pool.map(_write_part, jobs))
        half.rename(parts)
    if kind == "parts":
        return parts
    target = root / (f"{rows}.jsonl.gz" if kind == "one" else f"{rows}.parquet")
    if not target.exists():
        half = target.with_suffix(".half")
        if kind == "one":
            with half.open("wb") as out:  # gzip members in one file are one gzip file
                for path in sorted(parts.iterdir()):
                    out.write(path.read_bytes())
        else:
            import duckdb

            duckdb.connect(config={"threads": 2, "memory_limit": "900MB"}).execute(
                f"COPY (SELECT * FROM read_json('{parts}/*.gz', format = 'newline_delimited', columns = {COLUMNS})) "
                f"TO '{half}' (FORMAT parquet)"
            )
        half.rename(target)
    return target


COLUMNS: Final = """{timestamp: 'VARCHAR', request_id: 'VARCHAR', organization_id: 'VARCHAR', workspace_id: 'VARCHAR',
    api_key_id: 'VARCHAR', path: 'VARCHAR', http_status: 'INTEGER', latency_ms: 'BIGINT',
    request: 'STRUCT(model VARCHAR, max_tokens BIGINT, stream BOOLEAN)', tags: 'JSON',
    response: 'STRUCT(id VARCHAR, model VARCHAR, usage STRUCT(input_tokens BIGINT, cache_creation_input_tokens BIGINT,
      cache_read_input_tokens BIGINT, cache_creation STRUCT(ephemeral_5m_input_tokens BIGINT,
      ephemeral_1h_input_tokens BIGINT), output_tokens BIGINT, server_tool_use STRUCT(web_search_requests BIGINT),
      service_tier VARCHAR, inference_geo VARCHAR, speed VARCHAR))'}"""
USAGE: Final = "response.usage"
# Every field the import needs is decoded, the counters are summed by the key of the roll-up.
FLOOR: Final = f"""SELECT date_trunc('hour', CAST(timestamp AS TIMESTAMP)) AS hour, organization_id, workspace_id,
    api_key_id, response.model, {USAGE}.service_tier, {USAGE}.inference_geo, {USAGE}.speed,
    sum({USAGE}.input_tokens), sum({USAGE}.cache_read_input_tokens),
    sum({USAGE}.cache_creation.ephemeral_5m_input_tokens), sum({USAGE}.cache_creation.ephemeral_1h_input_tokens),
    sum({USAGE}.output_tokens), sum({USAGE}.server_tool_use.web_search_requests),
    max(hash(request_id)), max(hash(response.id)), max(hash(tags)), max(hash(request)), max(hash(path)),
    max(latency_ms), max(http_status), max({USAGE}.cache_creation_input_tokens), count(*)
  FROM {{source}} GROUP BY ALL"""


def _write_part(job: tuple[Path, int, int, int]) -> None:
    path, rows, part, parts = job
    draw = random.Random(SEED + part)
    begin, step = _BEGIN + _SPAN * part / parts, _SPAN / parts / rows
    with path.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=4, mtime=0) as out:
        lines = []
        for i in range(rows):
            lines.append(_line(draw, begin + step * i, i))
            if len(lines) == 5_000 or i == rows - 1:
                out.write("".join(lines).encode())
                lines = []


def _line(draw: random.Random, at: datetime, i: int) -> str:
    share = draw.random
    model, feature, key = MODELS[int(share() * 3)], int(share() * 9), int(share() * 12)
    read = int(share() * 60_000) if share() < 1 / 3 else 0
    written = int(share() * 4_000) if share() < 0.2 else 0
    ids = "".join(draw.choices(_LETTERS, k=40))
    return (
        f'{{"timestamp": "{at.isoformat(timespec="milliseconds")[:-6]}Z", "request_id": "req_011C{ids[:20]}", '
        f'"organization_id": "org-bench", "workspace_id": "wrkspc_{key % 4}", "api_key_id": "apikey_{key}", '
        f'"method": "POST", "path": "/v1/messages", "http_status": 200, "latency_ms": {200 + int(share() * 19_800)}, '
        f'"request": {{"model": "{model}", "max_tokens": 1024, "stream": {"true" if i % 2 else "false"}}}, '
        f'"tags": {{"feature": "feature-{feature}", "environment": "prod"}}, "response": {{"id": "msg_01{ids[20:]}", '
        f'"type": "message", "role": "assistant", "model": "{model}", "content": [], "stop_reason": "end_turn", '
        f'"usage": {{"input_tokens": {20 + int(share() * 7_980)}, "cache_creation_input_tokens": {written}, '
        f'"cache_read_input_tokens": {read}, "cache_creation": {{"ephemeral_5m_input_tokens": {written}, '
        f'"ephemeral_1h_input_tokens": 0}}, "output_tokens": {1 + int(share() * 1_999)}, "server_tool_use": null, '
        '"service_tier": "standard", "inference_geo": "global", "speed": "standard"}}}\n'
    )
