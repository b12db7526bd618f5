"""A Synapse process with TLS for other servers and plain HTTP for clients.

It runs with the Python that runs the tests, which is the one of crates/bench/synapse-requirements.txt.
"""

import base64
import json
import secrets
import sys

from authority import Authority
from harness.server import Process, free_port

# No limit of rate is reached.
UNLIMITED = {"per_second": 1_000_000, "burst_count": 1_000_000}

LOG = {
    "version": 1,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"level": "INFO", "handlers": ["console"]},
    "disable_existing_loggers": False,
}


class Synapse(Process):
    """A Synapse at a loopback address, on SQLite. Its name is that address with its port for other servers."""

    health_path = "/_matrix/client/versions"
    start_limit_s = 60.0

    def __init__(self, authority: Authority, address: str) -> None:
        super().__init__()
        port = free_port(address)
        self.name = f"{address}:{port}"
        configuration = self._configuration(authority, address, port)
        # YAML knows JSON.
        (self.folder / "homeserver.yaml").write_text(json.dumps(configuration, indent=1))
        (self.folder / "log.yaml").write_text(json.dumps(LOG))
        seed = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        (self.folder / "signing.key").write_text(f"ed25519 a_test {seed}\n")

    def command(self) -> list[str]:
        return [sys.executable, "-m", "synapse.app.homeserver", "--config-path", str(self.folder / "homeserver.yaml")]

    def _configuration(self, authority: Authority, address: str, port: int) -> dict:
        certificate, key = authority.certify(address)
        return self._for_clients() | {
            "server_name": self.name,
            "pid_file": str(self.folder / "pid"),
            "log_config": str(self.folder / "log.yaml"),
            "signing_key_path": str(self.folder / "signing.key"),
            "media_store_path": str(self.folder / "media"),
            "database": {"name": "sqlite3", "args": {"database": str(self.folder / "homeserver.db")}},
            "listeners": [
                _listener("127.0.0.1", self.port, "client"),
                _listener(address, port, "federation") | {"tls": True},
            ],
            "tls_certificate_path": str(certificate),
            "tls_private_key_path": str(key),
            "federation_custom_ca_list": [str(authority.certificate)],
            "federation_ip_range_blacklist": [],
            "ip_range_blacklist": [],
            "trusted_key_servers": [],
            # A server that was away is tried again soon.
            "federation": {
                "destination_min_retry_interval": "1s",
                "destination_max_retry_interval": "5s",
                "max_long_retry_delay": "2s",
                "max_short_retry_delay": "1s",
            },
            "allow_public_rooms_over_federation": True,
            "allow_device_name_lookup_over_federation": True,
            "rc_federation": {"sleep_limit": 1_000_000, "reject_limit": 1_000_000, "concurrent": 100},
            "federation_rr_transactions_per_room_per_second": 1_000_000,
        }

    @staticmethod
    def _for_clients() -> dict:
        return {
            "report_stats": False,
            "macaroon_secret_key": "only for a test",
            "form_secret": "only for a test",
            "bcrypt_rounds": 4,
            "enable_registration": True,
            "enable_registration_without_verification": True,
            "room_list_publication_rules": [{"action": "allow"}],
            "rc_message": UNLIMITED,
            "rc_registration": UNLIMITED,
            "rc_room_creation": UNLIMITED,
            "rc_joins_per_room": UNLIMITED,
            "rc_reports": UNLIMITED,
            "rc_user_directory": UNLIMITED,
            "rc_profile": UNLIMITED,
            "rc_login": {name: UNLIMITED for name in ("address", "account", "failed_attempts")},
            "rc_joins": {name: UNLIMITED for name in ("local", "remote")},
            "rc_invites": {name: UNLIMITED for name in ("per_room", "per_user", "per_issuer")},
            "rc_presence": {"per_user": UNLIMITED},
        }


def _listener(address: str, port: int, resource: str) -> dict:
    return {
        "port": port,
        "bind_addresses": [address],
        "type": "http",
        "tls": False,
        "resources": [{"names": [resource], "compress": False}],
    }
