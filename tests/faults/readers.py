"""Every reader of bytes from outside, with sound samples of what it reads and the errors that it may raise: our own."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from msgspec.structs import replace

from citadel_tui.bench.files import is_of_requests, saved_requests, saved_run
from citadel_tui.cli.input_files import read_lines
from citadel_tui.session.file import FORMAT, SessionHead, SessionLine, read_session
from citadel_tui.settings.file import load_settings_file
from engine.api import EngineError, Recorded, Updated
from engine.clock import SystemClock
from engine.core.commands import Batch, Evict, Load, SetPin
from engine.core.forecast.footprints import RunPeaks
from engine.core.models import Limits, ModelSpec
from engine.core.plans import Plan, Refusal
from engine.core.records import Entry, Notice, Pinned, Record, Refused, Residency
from engine.core.serialization import to_json, to_msgpack, to_sealed_json
from engine.devices.inventory import met, read_inventory, write_inventory
from engine.gateway.keys import KeysRefused, read_keys
from engine.recording.copy_rates import Circumstances, CopyRates, keep_rates, recall
from engine.recording.demand import DEMAND_FILE, Asked, DemandLog, own_demand
from engine.recording.files import Bounds
from engine.recording.footprints import FootprintStore
from engine.recording.journal import CURRENT, Journal
from engine.recording.memory import MEMORY_FILE, recorded_memory
from engine.recording.residency import KeptResidency, ResidencyFile
from engine.recording.trace import TraceError, read_trace
from engine.replay.box import read_sizes
from engine.runtime.initial_state import residency_before, with_changes, with_pins, with_rates
from engine.settings import load_settings
from engine.settings.gpus import usable_cards
from engine.weights.checks import check_checkpoint
from engine.weights.errors import WeightsError
from engine.weights.estimates import estimate_footprint
from engine.weights.header import checkpoint_files, stored_dtype, weights_bytes
from engine.weights.layout import LAYOUT_FILE, TensorFacts, place
from engine.weights.sequence_limits import settle_limits
from engine.weights.slab import SlabContents, open_prepared, write_prepared
from engine.weights.sources import Source
from engine.worker.framing import BrokenStream, encode_frame, receive
from engine.worker.protocol import Ping, Pong, Release
from engine.worker.protocol import Request as WorkerRequest
from tests.bench.runs import request_series, requests_run, run_of, series
from tests.results.engine_records import engine_facts, sample, switch
from tests.scripted_engine import ScriptedEngine
from tests.scripted_plans import scripted_state
from tests.settings.config_files import seen_first
from tests.settings.nvidia_cards import TWO_CARDS
from tests.weights.checkpoints import write_checkpoint

BOUNDS: Final = Bounds(64 << 20, 3)
ENTRIES: Final[tuple[Entry, ...]] = (
    switch(1.0),
    switch(2.0, "small", victim="large"),
    Notice(3.0, "warning", "gpu1 was lost: é"),
    Pinned("id-1", Plan(SetPin("small"), (), ("it stays",)), "operator", 4.0),
    Refused("id-2", Refusal(Batch("two", (Load("a"), Evict("b"))), "no room"), "operator", 5.0),
    Residency(6.0, (("small", "gpu0"),), {"small": None, "large": "gpu1"}),
)
RECORDS: Final = tuple(Record(number, entry) for number, entry in enumerate(ENTRIES, 1))


class Reader(NamedTuple):
    """What is damaged, and what reads it."""

    samples: tuple[bytes, ...]
    read: Callable[[bytes], object]
    errors: tuple[type[Exception], ...] = ()
    """What it may raise. Most may raise nothing: what is damaged costs itself."""
    sealed: bool = False
    """Whether it has a checksum, which whoever writes other values would make anew."""


MakeReader = Callable[[Path], Reader]


def _lines(values: Iterable[object], write: Callable[[object], bytes]) -> bytes:
    return b"".join(write(value) + b"\n" for value in values)


def _put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


# ── what the engine wrote itself, and reads when it starts ──


def journal(folder: Path) -> Reader:
    path = folder / CURRENT

    def read(data: bytes) -> None:
        path.write_bytes(data)
        records = Journal(folder, BOUNDS).read_back().records
        assert all(record in RECORDS for record in records), "a damaged line was taken for a record"

    return Reader((_lines(RECORDS, to_sealed_json),), read, sealed=True)


def journal_without_checksums(folder: Path) -> Reader:
    """As versions before them wrote it: a damaged line may be read as another record, which must not break the start."""
    path, state = folder / CURRENT, scripted_state()

    def read(data: bytes) -> None:
        path.write_bytes(data)
        past = Journal(folder, BOUNDS).read_back().records
        before = residency_before(KeptResidency(None, is_there=False), past)
        with_rates(state, past)
        if before is not None:
            with_pins(with_changes(state, past), before)

    names = tuple(state.models)
    known = replace(ENTRIES[0], plan=replace(ENTRIES[0].plan, command=Load(names[0], "gpu0")))  # type: ignore[union-attr]
    return Reader((_lines(RECORDS, to_json), _lines([Record(1, known), Record(2, ENTRIES[-1])], to_json)), read)


def memory(folder: Path) -> Reader:
    lines = (engine_facts(), sample(0.0, 10, 20), sample(30.0, 20, 30))

    def read(data: bytes) -> None:
        (folder / MEMORY_FILE).write_bytes(data)
        assert all(line in lines for line in recorded_memory(folder).values)

    return Reader((_lines(lines, to_sealed_json),), read, sealed=True)


DEMAND: Final = b"t_s,model,work\n" + b"".join(b"%d.500,mini-b,%d\n" % (second, second % 7 + 1) for second in range(40))


def demand(folder: Path) -> Reader:
    def read(data: bytes) -> None:
        (folder / DEMAND_FILE).write_bytes(data)
        asyncio.run(DemandLog(folder, BOUNDS).append(Asked(1.8e9, 100.0, "mini-b", 1)))
        assert own_demand(folder).requests[-1].model

    return Reader((DEMAND,), read, (TraceError,))


def footprints(folder: Path) -> Reader:
    path, models = folder / "footprints.json", scripted_state().models

    async def _written() -> bytes:
        store = FootprintStore(path, models, "2.13")
        for model in models:
            await store.keep(model, "a card", RunPeaks((1, 2, 3)))
        return path.read_bytes()

    def read(data: bytes) -> None:
        FootprintStore(_put(path, data), models, "2.13").read()

    written = asyncio.run(_written())
    return Reader((written, written[: written.rindex(b',"crc32"')] + b"}"), read)


def residency(folder: Path) -> Reader:
    path, state = folder / "residency.json", scripted_state()
    names = tuple(state.models)
    kept = Residency(6.0, ((names[0], "gpu0"), (names[1], "gpu1")), {names[0]: None, names[2]: "gpu1"})

    async def _written() -> bytes:
        file = ResidencyFile(path, SystemClock(), _unheard)
        writing = asyncio.create_task(file.run())
        file.put(kept)
        assert await file.kept() == ""
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        return path.read_bytes()

    def read(data: bytes) -> None:
        found = ResidencyFile(_put(path, data), SystemClock(), _unheard).read()
        assert found.residency in (kept, None), "a damaged file was taken for what was kept"

    return Reader((asyncio.run(_written()),), read, sealed=True)


def _unheard(_text: str) -> None: ...


def cards(folder: Path) -> Reader:
    path = folder / "cards.json"
    write_inventory(path, seen_first(TWO_CARDS))
    written = path.read_bytes()

    def read(data: bytes) -> None:
        inventory, trouble = read_inventory(_put(path, data))
        assert inventory.cards == () or not trouble
        usable_cards(met(inventory, TWO_CARDS, 2000.0))

    return Reader((written, written[: written.rindex(b',"crc32"')] + b"}"), read)


def copy_rates(folder: Path) -> Reader:
    circumstances = Circumstances("GPU-1", "570", "2.13")
    keep_rates(folder, circumstances, CopyRates(1, 1e10, 1e9, 1e10, 1e9), 1.8e9)
    (path,) = (folder / "copy-rates").iterdir()

    def read(data: bytes) -> None:
        recall(_put(folder / "copy-rates" / path.name, data).parents[1], circumstances)

    return Reader((path.read_bytes(),), read)


def layout(folder: Path) -> Reader:
    facts = [
        TensorFacts("a.weight", "parameter", "F32", (4, 8), (8, 1), 128),
        TensorFacts("b.weight", "parameter", "F16", (8, 4), (1, 8), 64),
    ]
    contents = SlabContents("BertModel", "path:/x", place(facts), ())
    checkpoint = write_checkpoint(folder / "checkpoint")
    prepared = write_prepared(folder / "m", checkpoint, contents, lambda e: memoryview(bytes(e.length)), lambda _: None)
    path = prepared.folder / LAYOUT_FILE
    written = path.read_bytes()

    def read(data: bytes) -> None:
        path.write_bytes(data)
        found = open_prepared(prepared.folder).layout
        assert b'"crc32"' not in data or found == prepared.layout, "a damaged layout was taken for sound"

    return Reader((written, written[: written.rindex(b',"crc32"')] + b"}"), read, (WeightsError,))


# ── what others wrote: checkpoints ──


def header(folder: Path) -> Reader:
    path = folder / "model.safetensors"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        weights_bytes(folder, "float16")
        weights_bytes(folder, "int8")
        stored_dtype(folder)

    return Reader((write_checkpoint(folder).joinpath(path.name).read_bytes(),), read, (WeightsError,))


def header_values(folder: Path) -> Reader:
    """The header's JSON alone, so that what is wrong is what it says and not how long it is."""
    path = folder / "model.safetensors"

    def read(data: bytes) -> None:
        path.write_bytes(len(data).to_bytes(8, "little") + data + bytes(128))
        weights_bytes(folder, "int8")

    said = {
        "a.weight": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]},
        "b.weight": {"dtype": "BF16", "shape": [2, 4, 4], "data_offsets": [64, 128]},
        "__metadata__": {"format": "pt"},
    }
    return Reader((json.dumps(said).encode(),), read, (WeightsError,))


def index(folder: Path) -> Reader:
    write_checkpoint(folder, "model-1.safetensors")
    path = folder / "model.safetensors.index.json"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        checkpoint_files(folder)

    return Reader((b'{"metadata":{},"weight_map":{"weight":"model-1.safetensors"}}',), read, (WeightsError,))


CHECKPOINT_FILES: Final[dict[str, dict[str, object] | list[dict[str, object]]]] = {
    "config.json": {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 4,
        "vocab_size": 32,
        "max_position_embeddings": 512,
        "rope_scaling": {"type": "dynamic", "factor": 2.0},
        "id2label": {"0": "no", "1": "yes"},
        "quantization_config": None,
        "auto_map": None,
        "text_config": {"hidden_size": 8, "num_hidden_layers": 2},
        "sliding_window": None,
        "problem_type": "single_label_classification",
    },
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ],
    "1_Pooling/config.json": {"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True, "include_prompt": True},
    "sentence_bert_config.json": {"max_seq_length": 128, "do_lower_case": False, "model_args": {}},
    "config_sentence_transformers.json": {
        "prompts": {"query": "query: "},
        "default_prompt_name": "query",
        "similarity_fn_name": "cosine",
    },
    "tokenizer_config.json": {"model_max_length": 512, "added_tokens_decoder": {"0": {"content": "[PAD]"}}},
    "generation_config.json": {
        "max_length": 20,
        "eos_token_id": [1, 2],
        "temperature": 0.7,
        "forced_decoder_ids": None,
    },
    "tokenizer.json": {"version": "1.0", "model": {"type": "WordPiece", "vocab": {"a": 0, "b": 1}}, "added_tokens": []},
    "adapter_config.json": {"base_model_name_or_path": "x"},
}


def checkpoint(folder: Path) -> Reader:
    """All of a checkpoint's JSON, one file after the other: what is told of it from its files alone."""
    write_checkpoint(folder)
    for name in CHECKPOINT_FILES:
        (folder / name).parent.mkdir(exist_ok=True)
    specs = [
        ModelSpec("m", (f"path:{folder}",), task, limits=Limits(4, 64), has_own_limit=True)
        for task in ("embedding", "generation", "rerank", "classify")
    ]
    source = Source(f"path:{folder}", folder)
    turn = 0

    def put_back(name: str) -> None:
        if name == "adapter_config.json":  # with it, it is no checkpoint
            (folder / name).unlink(missing_ok=True)
        else:
            (folder / name).write_text(json.dumps(CHECKPOINT_FILES[name]))

    for name in CHECKPOINT_FILES:
        put_back(name)

    def read(data: bytes) -> None:
        nonlocal turn
        name, _, body = data.partition(b"\n")
        damaged = name.decode(errors="replace")
        damaged = damaged if damaged in CHECKPOINT_FILES else "config.json"
        (folder / damaged).write_bytes(body)
        turn += 1
        spec = specs[turn % len(specs)]
        try:
            check_checkpoint(folder, spec)
            settled = settle_limits(spec, source)
            estimate_footprint(replace(spec, limits=settled.limits), source)
        finally:
            put_back(damaged)

    samples = tuple(b"%s\n%s" % (name.encode(), json.dumps(said).encode()) for name, said in CHECKPOINT_FILES.items())
    return Reader(samples, read, (WeightsError,))


# ── what people write, and files that they name ──

ALLOCATION: Final = b"""devices:
  virtual: [{backing: ram, memory: 640MiB}, {backing: ram, memory: 640MiB}]
  cpu_memory: 8GiB
memory_fraction: 0.8
ram_tier:
  budget: 2GiB
  max_models: 2
policy:
  eviction: expected_loss
  balancing: spread
  cpu_fallback: true
loading: {timeout_s: 120, retries: 1}
journal: {max_size: 4MiB, files: 5}
restore_after_restart: true
"""
CATALOG: Final = (
    b'{"models": [{"name": "m", "source": ["package:x", "synthetic:e5-small"], "task": "embedding", "dtype": "float16",'
    b' "limits": {"max_batch": 4, "max_sequence": 64}, "aliases": ["a/b"], "pin": "gpu0", "preload": true}]}'
)
DOTENV: Final = (
    b"GPU_MEMORY_FRACTION=0.8\nCUDA_VISIBLE_DEVICES=0,1\nexport MODEL_CACHE_SIZE='2'\nOTHER=\"a\nb\"\nX=${OTHER}\n"
)


def settings(folder: Path) -> Reader:
    """Which of the three files is told by what the sample begins with."""
    files = {"gpu_allocation.yaml": ALLOCATION, "model_gpu_mapping.json": CATALOG, ".env": DOTENV}

    def read(data: bytes) -> None:
        name, _, body = data.partition(b"\n")
        for file, said in files.items():
            usual = b"devices: {virtual: [{memory: 1GiB}]}" if file.endswith(".yaml") else said
            (folder / file).write_bytes(body if file.encode() == name else usual)
        load_settings(folder, {}, folder / ".env")

    return Reader(tuple(b"%s\n%s" % (name.encode(), said) for name, said in files.items()), read, (EngineError,))


def console_settings(folder: Path) -> Reader:
    said = (
        b'sort: name\nreverse: false\nfilter: "state:ready"\ncolours: dark\ngraphs: "on"\nkeys: {evict: x, load: L}\n'
    )

    def read(data: bytes) -> None:
        assert load_settings_file(_put(folder / "console.yaml", data)).complaint.isprintable()

    return Reader((said,), read)


def keys(folder: Path) -> Reader:
    path = folder / "keys.json"
    path.touch(mode=0o600)
    said = b'{"keys":[{"name":"app","sha256":"%s","made_at_s":1.8e9}]}' % (b"0" * 64)
    return Reader((said,), lambda data: read_keys(_put(path, data)), (KeysRefused,))


def trace(folder: Path) -> Reader:
    return Reader(
        (DEMAND,), lambda data: read_lines(_put(folder / "t.csv", data), read_trace, "nothing"), (EngineError,)
    )


def sizes(folder: Path) -> Reader:
    def read(data: bytes) -> object:
        return read_lines(_put(folder / "s.csv", data), lambda lines: read_sizes(lines, {"a", "b"}), "nothing")

    return Reader((b"model,size\na,1GiB\nb,640MiB\n",), read, (EngineError, TraceError))


def session(folder: Path) -> Reader:
    """Damaged inside its compression, and outside."""
    engine = ScriptedEngine()

    async def _events() -> tuple[bytes, ...]:
        head = SessionHead(FORMAT, await engine.hello(), 1.0, RECORDS)
        snapshot = await engine.snapshot()
        lines = (SessionLine(2.0, Updated(snapshot)), SessionLine(3.0, Recorded(RECORDS[0])))
        return _lines((head, *lines), to_json), gzip.compress(_lines((head, *lines), to_json))

    def read(data: bytes) -> None:
        packed = data if data[:2] == b"\x1f\x8b" else gzip.compress(data, 1)
        found = asyncio.run(read_session(_put(folder / "x.session", packed)))
        for number in range(len(found.lines)):
            found.event(number)

    return Reader(asyncio.run(_events()), read, (EngineError,))


def bench(folder: Path) -> Reader:
    path = folder / "b.json"
    runs = (run_of(series("m", [0.1, 0.2])), requests_run(request_series("m", [0.1, 0.2], 0.01)))

    def read(data: bytes) -> None:
        path.write_bytes(data)
        if is_of_requests(path):
            saved_requests(path)
        else:
            saved_run(path)

    return Reader(tuple(to_json(run) for run in runs), read, (EngineError,))


# ── between processes ──


def frames(_folder: Path) -> Reader:
    def read(data: bytes) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.sendall(data)
            ours.close()
            while receive(theirs, WorkerRequest) is not None:
                pass

    bodies = [encode_frame(message) for message in (Ping(1), Release(2, "m"), Pong(3))]
    return Reader((b"".join(bodies), to_msgpack([1, {"a": b"x"}])), read, (BrokenStream,))


READERS: Final[tuple[MakeReader, ...]] = (
    journal, journal_without_checksums, memory, demand, footprints, residency, cards, copy_rates,
    layout, header, header_values, index, checkpoint,
    settings, console_settings, keys, trace, sizes, session, bench, frames,
)  # fmt: skip
