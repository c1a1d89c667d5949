"""`auricle`: the command line. Each command imports what it needs when it is called, so that `--help` is instant."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from service.cli import keys
from service.cli.group import Commands

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Audio to discrete tokens and back: as a service, or right here on files.\n\n"
    "Settings come from AURICLE_* environment variables; options win over them. "
    "Exit codes: 0 all done, 1 something failed, 2 wrong usage.",
)

app.add_typer(keys.app, name="keys")

Repository = Annotated[
    Path | None,
    typer.Option(help="Folder of <model>/config.pbtxt and <model>/<version>/model.onnx.", show_default=False),
]
TritonUrl = Annotated[
    str | None,
    typer.Option(
        help="host:port of a Triton server's gRPC endpoint; several with commas. Without it the models run right here.",
        show_default=False,
    ),
]
Url = Annotated[
    str | None,
    typer.Option(help="A running service to ask. Without it the work is done right here.", show_default=False),
]
ApiKey = Annotated[
    str | None,
    typer.Option(envvar="AURICLE_API_KEY", help="For a service that asks for one.", show_default=False),
]
LogLevel = Annotated[str | None, typer.Option(help="debug, info, warning or error.", show_default=False)]


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.", show_default="8080")] = None,
    model_repository: Repository = None,
    triton_url: TritonUrl = None,
    log_level: LogLevel = None,
) -> None:
    """Run the HTTP service, exporting the reference models first where they have not been built.

    SIGTERM and Ctrl-C let requests in flight finish (AURICLE_SHUTDOWN_GRACE_S) and refuse new ones.

        auricle serve --port 8080
        curl --data-binary @speech.flac -H 'Content-Type: audio/flac' localhost:8080/v1/tokenize
    """
    from service.cli import environment
    from service.cli.serve import run

    settings = environment.settings(
        host=host, port=port, model_repository=model_repository, triton_url=triton_url, log_level=log_level
    )
    raise typer.Exit(run(settings))


@app.command()
def tokenize(
    paths: Annotated[list[Path], typer.Argument(help="Audio files, or folders to search for them.", exists=True)],
    out: Annotated[Path, typer.Option(help="Folder for the containers, <name>.aurt.")] = Path(),
    channel: Annotated[
        Literal["mix", "left", "right", "each"],
        typer.Option(help="`mix` averages all channels; `each` keeps them apart."),
    ] = "mix",
    force: Annotated[bool, typer.Option("--force", help="Write again what is already there.")] = False,
    model_repository: Repository = None,
    triton_url: TritonUrl = None,
) -> None:
    """Turn audio files into token containers (900 bit/s), without a server.

    What is already in OUT is skipped, so an interrupted run goes on where it stopped. A file that cannot be read is
    reported at the end and stops nothing; the exit code is then 1.

        auricle tokenize speech.flac recordings/ --out tokens/
    """
    from service.cli import environment, files

    settings = environment.settings(model_repository=model_repository, triton_url=triton_url)
    raise typer.Exit(files.tokenize(settings, paths, out, channel, force))


@app.command()
def detokenize(
    paths: Annotated[list[Path], typer.Argument(help="Containers, or folders to search for them.", exists=True)],
    out: Annotated[Path, typer.Option(help="Folder for the audio files.")] = Path(),
    audio_format: Annotated[
        Literal["wav", "wav-float", "flac", "ogg"], typer.Option("--format", help="What to write; Ogg is Opus.")
    ] = "wav",
    force: Annotated[bool, typer.Option("--force", help="Write again what is already there.")] = False,
    model_repository: Repository = None,
    triton_url: TritonUrl = None,
) -> None:
    """Turn token containers back into audio files, without a server.

    auricle detokenize tokens/ --out audio/ --format flac
    """
    from service.cli import environment, files

    settings = environment.settings(model_repository=model_repository, triton_url=triton_url)
    raise typer.Exit(files.detokenize(settings, paths, out, audio_format, force))


@app.command()
def index(
    folder: Annotated[Path, typer.Argument(help="Searched for audio and text files.", exists=True, file_okay=False)],
    collection: Annotated[str, typer.Option(help="Made if there is none of this name.")],
    force: Annotated[bool, typer.Option("--force", help="Write again what is already there.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
    model_repository: Repository = None,
    triton_url: TritonUrl = None,
) -> None:
    """Embed the recordings and texts of a folder into a collection, to be found by `auricle search`.

    A file that is there already, of the same size and time, is skipped, so an interrupted run goes on where it stopped.
    A file that cannot be read is reported at the end and stops nothing; the exit code is then 1.

        auricle index recordings/ --collection recordings
    """
    from service.cli import environment, search
    from service.cli.search import Address

    settings = environment.settings(model_repository=model_repository, triton_url=triton_url)
    raise typer.Exit(search.index(settings, Address(url, api_key), folder, collection, force))


@app.command("search")
def find(
    query: Annotated[str, typer.Argument(help="What to look for, in words; or an audio file that sounds like it.")],
    collection: Annotated[
        str | None, typer.Option(help="Which one to look in.", show_default="the only one there is")
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Items to show.", min=1, max=100)] = 10,
    matching: Annotated[
        str | None, typer.Option("--filter", help='On metadata, as JSON: \'{"speaker": "anna"}\'.', show_default=False)
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    model_repository: Repository = None,
    triton_url: TritonUrl = None,
) -> None:
    """Find recordings and texts, and the times in them, by a sentence or by a sound.

    auricle search "a dog barks"
    """
    from service.cli import environment, search
    from service.cli.search import Address

    settings = environment.settings(model_repository=model_repository, triton_url=triton_url)
    raise typer.Exit(search.search(settings, Address(url, api_key), query, collection, k, matching))


@app.command()
def bench(
    url: Annotated[str, typer.Option(help="The service to load.")] = "http://127.0.0.1:8080",
    mix: Annotated[
        str, typer.Option(help="What to ask, with weights between: tokenize, maps, text and audio (embeddings).")
    ] = "tokenize",
    rate: Annotated[
        float | None,
        typer.Option(help="Requests a second, however long answers take.", min=0.01, show_default="closed loop"),
    ] = None,
    clients: Annotated[int, typer.Option(help="Without --rate: clients that wait for their answers.", min=1)] = 8,
    seconds: Annotated[float, typer.Option(help="Length of the measurement.", min=0.1)] = 30.0,
    warm_up: Annotated[float, typer.Option(help="Seconds of load before it.", min=0)] = 3.0,
    target_ms: Annotated[float, typer.Option(help="Answers within this latency are goodput.", min=1)] = 1000.0,
    timeout: Annotated[float, typer.Option(help="Seconds after which a request is given up.", min=0.1)] = 60.0,
    api_key: ApiKey = None,
    out: Annotated[Path | None, typer.Option("--json", help="File to write it all to.", show_default=False)] = None,
) -> None:
    """Load a running service, and report latencies, goodput and errors.

    With --rate requests come at a constant rate, as from users who do not wait for each other, and the latency of each
    counts from when it was to be sent. Without, so many clients ask again as soon as they are answered: the most that
    the service can do.

        auricle bench --rate 50 --mix tokenize=4,text=8,audio=1
    """
    from service.cli.bench import Options, run

    raise typer.Exit(run(Options(url, api_key, mix, rate, clients, seconds, warm_up, timeout, target_ms, out)))


@app.command()
def doctor(model_repository: Repository = None, triton_url: TritonUrl = None) -> None:
    """Check that the service can run here as it is configured, and say what to do where it cannot.

    Configuration, models, backends, decoders, vector store, memory, disk. The exit code is 1 where something must be
    done.
    """
    from service.cli import environment
    from service.cli.doctor import run

    raise typer.Exit(run(environment.settings(model_repository=model_repository, triton_url=triton_url)))


def main() -> None:
    """The console script."""
    app()
