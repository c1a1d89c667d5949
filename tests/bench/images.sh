#!/usr/bin/env bash
# Really builds both images and runs them as compose.yaml does, without a Docker engine and without an image registry:
# buildah on a stand-in for python:3.11-slim-bookworm that is made of Debian's packages. By hand, as root; 20 GB of disk.
#
#   apt-get install -y --no-install-recommends buildah mmdebstrap && tests/bench/images.sh
#
# WHEELS: a folder of wheels to take PyTorch from, where its index cannot be reached. NVIDIA: a folder to mount as
# site-packages/nvidia, if those wheels are builds for GPUs.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=${WORK:-/var/tmp/auricle-images}
base=localhost/python:3.11-slim-bookworm
mkdir -p "$work/tmp" "$work/pip" "$work/models" "$work/keys" "$work/vectors"
export TMPDIR=$work/tmp CONTAINERS_STORAGE_CONF=$work/storage.conf CONTAINERS_REGISTRIES_CONF=$work/registries.conf
printf '{"default":[{"type":"insecureAcceptAnything"}]}' >"$work/policy.json"
printf '[storage]\ndriver="vfs"\nrunroot="%s/run"\ngraphroot="%s/graph"\n' "$work" "$work" >"$work/storage.conf"
: >"$work/registries.conf"

if ! buildah inspect --type image "$base" >/dev/null 2>&1; then
    mmdebstrap --mode=root --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$work/base.tar"
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$work/base.tar" /
    buildah run --isolation chroot "$container" -- ln -sf /usr/bin/python3 /usr/local/bin/python
    buildah config --env PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin "$container"
    buildah commit --quiet --signature-policy "$work/policy.json" "$container" "$base"
    buildah rm "$container" >/dev/null
    rm "$work/base.tar"
fi

options=(--isolation chroot --pull-never --format docker --signature-policy "$work/policy.json")
options+=(--build-arg "PYTHON=$base")
options+=(--volume /etc/ssl/certs/ca-certificates.crt:/etc/ssl/certs/ca-certificates.crt:ro)
[ -n "${WHEELS:-}" ] && options+=(--volume "$WHEELS:/wheels:ro" --build-arg "TORCH_INDEX=file:///wheels")
for image in gateway export; do
    started=$SECONDS
    buildah bud "${options[@]}" --file "docker/$image.Dockerfile" --tag "auricle/$image:0.1.0" .
    echo "built $image in $((SECONDS - started)) s"
done

# Runs an image as its user on a root that cannot be written: in_image IMAGE COMMAND...
in_image() {
    local container root
    container=$(buildah from --pull-never "auricle/$1:0.1.0")
    root=$(buildah mount "$container")
    shift
    for folder in models keys vectors; do [ -d "$root/$folder" ] && chown 10001:10001 "$work/$folder"; done
    # shellcheck disable=SC2016  # expanded inside
    unshare --mount --pid --fork --kill-child bash -euc '
        root=$1 work=$2 nvidia=$3 packages=opt/auricle/lib/python3.11/site-packages; shift 3
        [ -n "$nvidia" ] && mkdir -p "$root/$packages/nvidia"
        mount --bind "$root" "$root"; mount -o remount,bind,ro "$root"
        mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"; mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        for folder in models keys vectors; do [ -d "$root/$folder" ] && mount --bind "$work/$folder" "$root/$folder"; done
        [ -n "$nvidia" ] && mount --bind "$nvidia" "$root/$packages/nvidia"
        exec chroot --userspec=10001:10001 "$root" /usr/bin/env -i PATH=/opt/auricle/bin:/usr/local/bin:/usr/bin:/bin \
            PYTHONDONTWRITEBYTECODE=1 AURICLE_HOST=0.0.0.0 AURICLE_PORT=18080 AURICLE_MODEL_REPOSITORY=/models \
            AURICLE_VECTOR_STORE=/vectors AURICLE_API_KEYS_FILE=/keys/keys.json \
            "$@"' run "$root" "$work" "${NVIDIA:-}" "$@"
    local code=$?
    buildah umount "$container" >/dev/null && buildah rm "$container" >/dev/null
    return $code
}

in_image export sh -c 'cd /app && exec python -m export export --out /models --missing'
in_image gateway sh -c '
    id -u; touch /probe 2>/dev/null && exit 1
    cd /tmp; auricle keys add bench >/dev/null; auricle serve &
    until python -c "import urllib.request as u; u.urlopen(\"http://127.0.0.1:18080/readyz\", timeout=4)" 2>/dev/null; do
        kill -0 $! || exit 1; sleep 1
    done
    python -c "import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:18080/readyz\").read().decode())"
    kill $!; wait $!'
buildah images
