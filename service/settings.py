"""The settings of the gateway: one frozen object, read once from AURICLE_* and passed down."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class Settings(BaseSettings):
    """Every field is an environment variable: `port` is AURICLE_PORT."""

    model_config = SettingsConfigDict(env_prefix="AURICLE_", frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="json: one object a line; text: for a person; auto: text on a terminal."
    )
    otlp_endpoint: str | None = Field(
        None,
        description="http(s)://host:port of an OpenTelemetry collector that gets a trace of every request. Unset: none "
        "is made. Needs `auricle[otlp]`.",
    )

    model_repository: Path = Field(
        Path(__file__).parent.parent / "model_repository",
        description="Folder of <model>/config.pbtxt and <model>/<version>/model.onnx.",
    )
    triton_url: str | None = Field(
        None,
        description="host:port of a Triton server's gRPC endpoint, or several separated by commas. Unset: ONNX Runtime "
        "inside this process.",
    )
    intra_op_threads: int = Field(
        0,
        ge=0,
        description="Threads of one inference in this process; 0 leaves it to config.pbtxt; where that says nothing, "
        "the instances of a model share the cores.",
    )

    model_poll_s: float = Field(
        2.0,
        ge=0,
        description="How often new versions of models are looked for, to be used without a restart; 0: never.",
    )
    triton_shared_memory: int = Field(
        1 << 20,
        ge=0,
        description="Tensors of so many bytes and more go through system shared memory to a Triton server on this host "
        "that allows it (--allow-client-shm), the others over gRPC. 0: all over gRPC.",
    )
    triton_tls_ca: Path | None = Field(
        None, description="PEM file of the authorities that Triton's certificate is checked against. Unset: no TLS."
    )
    triton_tls_certificate: Path | None = Field(None, description="PEM file of the certificate to show to Triton.")
    triton_tls_key: Path | None = Field(None, description="PEM file of that certificate's private key.")

    vector_store: Path = Field(
        Path("vectors"), description="Folder of the collections that search is in; made when it is first needed."
    )
    vector_url: str | None = Field(
        None,
        description="http(s)://host:port of a Milvus server to keep the collections on. Unset: in the folder "
        "`vector_store`, which one process at a time can have open.",
    )

    api_keys_file: Path | None = Field(
        None,
        description="File of API keys, which `auricle keys add` writes; read again whenever it changes. Unset: whoever "
        "reaches the service may use it.",
    )
    allow_anonymous: bool = Field(
        False, description="Listen on an address that others reach, although no API keys are asked for."
    )
    rate_limit: float | None = Field(
        None,
        gt=0,
        description="Requests a minute that one API key may make, ten seconds' worth of them at once; then 429. A key "
        "may have a limit of its own.",
    )
    max_concurrent_requests: int | None = Field(
        None, ge=1, description="Requests that one API key may have open at once; then 429. A key may have its own."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins of web pages that may call the service, separated by commas; * is any."
    )
    tls_certificate: Path | None = Field(None, description="PEM file of the certificate chain to serve HTTPS with.")
    tls_key: Path | None = Field(None, description="PEM file of its private key.")
    header_timeout_s: float = Field(
        10.0, gt=0, description="A connection on which the head of a request takes longer to arrive is closed."
    )
    max_header_bytes: int = Field(32 << 10, ge=1 << 10, description="Largest head of a request; then 431.")
    max_connections: int = Field(
        1000, ge=1, description="Connections that may be open; then the one that idles longest makes room."
    )
    max_queue_s: float = Field(
        10.0,
        gt=0,
        description="Estimated seconds of work that may be queued or running before a request; then 503 at once.",
    )
    decode_memory_bytes: int = Field(
        1 << 30,
        ge=64 << 20,
        description="Memory that a process that decodes files may take beyond what it begins with.",
    )
    decode_cpu_s: int = Field(
        60, ge=1, description="Seconds of a core that decoding one file may take, before it is given up as malformed."
    )

    max_body_bytes: int = Field(256 << 20, gt=0, description="Largest request body.")
    max_spool_bytes: int = Field(
        1 << 30,
        gt=0,
        description="All bodies together that are in memory or, above a megabyte, in the folder for temporary files; "
        "then 503.",
    )
    body_timeout_s: float = Field(
        60.0,
        gt=0,
        description="A body that takes longer to arrive is refused with 408; a client that takes next to nothing of "
        "its answer for longer is cut off.",
    )
    stream_idle_s: float = Field(30.0, gt=0, description="A stream whose client is silent for longer is closed.")
    max_streams: int = Field(64, ge=1, description="Streams that may be open at once; then 503.")
    max_audio_s: float = Field(3600.0, gt=0, description="Longest audio in one request.")
    max_embedding_audio_s: float = Field(
        14_400.0, gt=0, description="Longest audio to embed in one request; a model may take less."
    )
    max_images: int = Field(32, ge=1, description="Pictures in one request; a model may take fewer.")
    max_image_pixels: int = Field(
        50_000_000, gt=0, description="Largest picture; a PNG or WebP takes four bytes of memory a pixel to decode."
    )
    max_image_bytes: int = Field(64 << 20, gt=0, description="Largest file of one picture.")
    deadline_s: float = Field(60.0, gt=0, description="Longest wait for the models; then 504.")

    preprocess_workers: int = Field(2, ge=1, description="Threads that decode audio and compute features.")
    max_queued_jobs: int = Field(64, ge=0, description="Jobs that may wait for those threads; then 503.")
    max_queued_slow_jobs: int = Field(
        8, ge=0, description="Ray tracings that may wait for the one thread that they have; then 503."
    )
    max_inflight_windows: int = Field(8, ge=1, description="Windows of one request inside the backend at once.")

    shutdown_delay_s: float = Field(
        0.0,
        ge=0,
        description="How long new requests are still taken after SIGTERM, while /readyz says 503: the time that a load "
        "balancer needs to notice.",
    )
    shutdown_grace_s: float = Field(
        30.0, ge=0, description="How long requests and streams in flight may take after that."
    )

    @model_validator(mode="after")
    def _spool(self) -> Self:
        if self.max_spool_bytes < self.max_body_bytes:
            raise ValueError("max_spool_bytes has no room for a body of max_body_bytes")
        return self

    @field_validator("vector_url", "otlp_endpoint")
    @classmethod
    def _server(cls, value: str | None) -> str | None:
        if value and not (value.startswith(("http://", "https://")) and urlsplit(value).hostname):
            raise ValueError(f"{value!r} is not http(s)://host:port of a server")
        return value or None

    @model_validator(mode="after")
    def _tls(self) -> Self:
        if (self.triton_tls_certificate is None) != (self.triton_tls_key is None):
            raise ValueError("triton_tls_certificate and triton_tls_key need each other")
        if self.triton_tls_certificate and not self.triton_tls_ca:
            raise ValueError("triton_tls_certificate needs triton_tls_ca")
        return self

    @field_validator("triton_url")
    @classmethod
    def _addresses(cls, value: str | None) -> str | None:
        for address in (value or "").split(","):
            host, _, port = address.strip().rpartition(":")
            if value and not (host and "/" not in host and port.isdigit()):
                raise ValueError(f"{address.strip()!r} is not host:port of a gRPC endpoint")
        return value or None

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _origins(cls, value: Any) -> Any:
        origins = value.split(",") if isinstance(value, str) else value
        stripped = tuple(origin.strip().rstrip("/") for origin in origins if origin.strip())
        for origin in stripped:
            parts = urlsplit(origin)
            if origin != "*" and origin != f"{parts.scheme}://{parts.netloc}":
                raise ValueError(f"{origin!r} is not the origin of a page, as in https://app.example")
        return stripped

    @model_validator(mode="after")
    def _certified(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together: AURICLE_TLS_CERTIFICATE and AURICLE_TLS_KEY")
        return self
