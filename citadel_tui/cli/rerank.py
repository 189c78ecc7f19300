"""`citadel rerank`: documents by how well they answer a query, the best first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from citadel_tui.cli.engine import at_hand, request
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import progress, table, tell
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.cli.values import count
from citadel_tui.text import shortened
from citadel_tui.words.figures import count_text, kept_text, seconds_text
from citadel_tui.words.labels import model_label
from engine.answers import Reranking
from engine.core.names import ModelName
from engine.core.serialization import to_json

_SHOWN_TEXT: Final = 64


class RerankArguments(Arguments, frozen=True, kw_only=True):
    model: ModelName
    query: str
    documents: Sequence[str]
    top: int | None
    truncate: bool
    json: bool


def add_arguments(command: CommandParser) -> None:
    command.add_argument("model")
    command.add_argument("query")
    command.add_argument("documents", nargs="+", metavar="DOC")
    command.add_argument("--top", type=count, metavar="N", help="only the best N")
    command.add_argument("--truncate", action="store_true", help="cut what is longer than the model reads")
    command.add_argument("--json", action="store_true", help="documents by their number, from 0 on")
    command.carried_out_by(run, RerankArguments)


def run(arguments: RerankArguments) -> int:
    return request(arguments.model, _rerank(arguments))


async def _rerank(arguments: RerankArguments) -> Exit:
    documents = list(arguments.documents)
    async with at_hand(arguments) as engine:
        with progress() as show:
            show(f"{arguments.model} reads {count_text(len(documents), 'document', 'documents')}")
            ranking = await engine.rerank(
                arguments.model, arguments.query, documents, arguments.top, arguments.truncate
            )
    if arguments.json:
        print(to_json(ranking).decode())
        return Exit.DONE
    print(_described(ranking, documents))
    for one in ranking.ranked:
        if one.tokens.is_cut:
            tell(f"document {one.document + 1} was cut: with the query, {kept_text(one.tokens)} are read")
    return Exit.DONE


def _described(ranking: Reranking, documents: Sequence[str]) -> str:
    label = model_label(ranking.model, synthetic=ranking.synthetic)
    counted = count_text(len(documents), "document", "documents")
    rows = [
        [f"{one.score:.4f}", str(one.document + 1), shortened(documents[one.document], _SHOWN_TEXT)]
        for one in ranking.ranked
    ]
    shown = table(["SCORE", "NO", "DOCUMENT"], rows, right=("SCORE", "NO"))
    return f"{label} on {ranking.device}: {counted}, {seconds_text(ranking.seconds)}\n{shown}"
