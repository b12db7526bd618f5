#!/usr/bin/env bash
# Runs a command beside a private PostgreSQL cluster, which is removed at the end, also after a failure.
#   with-postgres.sh [--no-fsync] COMMAND…
# The cluster is in a fresh folder of the system's temporary directory, listens on a Unix socket only,
# and runs as `postgres` when we are root, since it refuses to run as root.
# --no-fsync: faster, for tests that are not about losing power.
# The command finds, in its environment:
#   STARLING_TEST_POSTGRES          postgres://postgres@%2Ftmp%2F…/postgres
#   STARLING_TEST_POSTGRES_CONTROL  a command: CONTROL crash (stop without a checkpoint), CONTROL start
set -euo pipefail

settings=(-c listen_addresses='' -c max_connections=300 -c timezone=UTC)
if [[ ${1:-} == --no-fsync ]]; then
    settings+=(-c fsync=off -c full_page_writes=off)
    shift
fi
[[ $# -gt 0 ]] || { echo "usage: with-postgres.sh [--no-fsync] COMMAND…" >&2; exit 2; }

bin=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1) || {
    echo "with-postgres.sh: no PostgreSQL under /usr/lib/postgresql" >&2
    exit 1
}

# A socket's path may have at most 107 bytes, and the user `postgres` must be able to enter the
# folder: hence a short one, and not $TMPDIR.
folder=$(mktemp -d /tmp/starling-pg.XXXXXX)
as_server=()
if [[ $(id -u) -eq 0 ]]; then
    chown postgres "$folder"
    as_server=(runuser -u postgres --)
fi

control() { (cd "$folder" && "${as_server[@]}" "$bin/pg_ctl" -s -w -t 60 -D "$folder/data" "$@"); }
clean_up() {
    control -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

(cd "$folder" && "${as_server[@]}" "$bin/initdb" --pgdata="$folder/data" --username=postgres --auth=trust \
    --encoding=UTF8 --locale=C >"$folder/initdb.log" 2>&1) || { cat "$folder/initdb.log" >&2; exit 1; }
start_options="-k $folder ${settings[*]@Q}"
cat >"$folder/control" <<CONTROL
#!/usr/bin/env bash
set -euo pipefail
cd "$folder"
case \${1:-} in
crash) ${as_server[*]} "$bin/pg_ctl" -s -w -t 60 -D data -m immediate stop ;;
start) ${as_server[*]} "$bin/pg_ctl" -s -w -t 60 -D data -l "$folder/server.log" -o "$start_options" start >/dev/null ;;
*) echo "usage: control crash|start" >&2; exit 2 ;;
esac
CONTROL
chmod +x "$folder/control"
"$folder/control" start || { cat "$folder/server.log" >&2; exit 1; }

export STARLING_TEST_POSTGRES="postgres://postgres@${folder//\//%2F}/postgres"
export STARLING_TEST_POSTGRES_CONTROL="$folder/control"
"$@"
