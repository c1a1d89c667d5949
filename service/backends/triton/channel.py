"""How a server is connected to: the options of the channel, and TLS."""

from pathlib import Path

import grpc
from tritonclient.grpc.aio import InferenceServerClient

_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # a restarted server is used again within about a second; gRPC's own back-off grows to two minutes
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # also how long one attempt may take, with its handshakes: a port that accepts and never answers is given up then
    ("grpc.min_reconnect_backoff_ms", 1000),
    # a name that resolves to several addresses (a headless service) is spread over all of them
    ("grpc.service_config", '{"loadBalancingConfig":[{"round_robin":{}}]}'),
]


def credentials(ca: Path, certificate: Path | None = None, key: Path | None = None) -> grpc.ChannelCredentials:
    """PEM files: who is trusted, and what to show to a server that asks who is calling. Raises OSError."""
    return grpc.ssl_channel_credentials(
        root_certificates=ca.read_bytes(),
        private_key=key.read_bytes() if key else None,
        certificate_chain=certificate.read_bytes() if certificate else None,
    )


def connect(address: str, tls: grpc.ChannelCredentials | None) -> InferenceServerClient:
    """Returns at once: the connection is made when it is first needed, and again whenever it was lost."""
    return InferenceServerClient(address, creds=tls, channel_args=_OPTIONS)
