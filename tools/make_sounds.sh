#!/usr/bin/env bash
# Makes the small sound files of tests/sounds/ again, with ffmpeg (libopus in it): each 0.5 s of a sine of 440 Hz.
set -euo pipefail
cd "$(dirname "$0")/../tests/sounds"
make() { ffmpeg -hide_banner -loglevel error -y -f lavfi -i "sine=frequency=440:sample_rate=$2:duration=0.5" -ac "$3" -fflags +bitexact -flags:a +bitexact "${@:4}" "$1"; }
make voice.opus 48000 1 -c:a libopus -b:a 12k -application voip
make music.ogg 48000 2 -c:a libopus -b:a 64k
make browser.webm 48000 1 -c:a libopus -b:a 24k
make pages.opus 48000 1 -c:a libopus -b:a 12k -application voip -page_duration 100000
make lossless.m4a 8000 1 -c:a alac
make sound.mka 8000 1 -c:a flac
make sound.flac 8000 2 -c:a flac
make sound.aiff 8000 1 -c:a pcm_s16be
make sound.caf 8000 1 -c:a pcm_s16le
make sound.mp2 32000 1 -c:a mp2 -b:a 64k
make ms-adpcm.wav 8000 1 -c:a adpcm_ms
make ima-adpcm.wav 8000 2 -c:a adpcm_ima_wav
make wave64.w64 8000 1 -c:a pcm_mulaw
make mpeg.wav 16000 1 -c:a libmp3lame -b:a 16k
make tagged.mp3 44100 1 -c:a libmp3lame -b:a 32k -id3v2_version 0 -write_xing 1
make delayed.m4a 16000 1 -c:a aac -b:a 24k
# Neither has a tag that says how long it is.
plain=(-c:a libmp3lame -id3v2_version 0 -write_xing 0)
make loud.mp3 44100 1 "${plain[@]}" -b:a 320k -t 0.1
make soft.mp3 44100 1 "${plain[@]}" -b:a 32k -af aloop=2:22050
cat voice.opus voice.opus > joined.ogg
# Half of it at another rate and of one channel: the frames of a file behind another, whose metadata are 8192 bytes of padding and more.
make half.flac 16000 1 -c:a flac
python3 - <<'EOF'
def parts(path):
    data, at, last = open(path, "rb").read(), 4, False
    while not last:
        last, at = data[at] >= 128, at + 4 + int.from_bytes(data[at + 1:at + 4])
    return data[:42], data[at:]
(head, first), (_, second) = parts("sound.flac"), parts("half.flac")
# The only block of metadata, of no known length and checksum.
head = head[:4] + b"\x80" + head[5:21] + bytes([head[21] & 0xF0]) + bytes(20)
open("changing.flac", "wb").write(head + first + second)
EOF
rm half.flac
