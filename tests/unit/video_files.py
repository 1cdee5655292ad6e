"""Videos with a number in every frame, written by PyAV or the ffmpeg program, and what ffmpeg reads of them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

NUM_BITS = 8


def painted(number: int, width: int = 128, height: int = 64) -> NDArray[np.uint8]:
    """A frame with its number in its pixels: black and white columns for the bits, over a gradient."""
    frame = np.empty((height, width, 3), np.uint8)
    frame[...] = np.linspace(30, 220, width).astype(np.uint8)[None, :, None] // np.array([1, 2, 3], np.uint8)
    for bit, column in enumerate(np.array_split(np.arange(width), NUM_BITS)):
        frame[: height // 2, column] = 235 if number >> bit & 1 else 20
    return frame


def number_of(frame: NDArray[np.uint8]) -> int:
    """The number that `painted` put into a frame."""
    columns = np.array_split(frame[: frame.shape[0] // 2].mean(axis=(0, 2)), NUM_BITS)
    return sum(int(column.mean() > 128) << bit for bit, column in enumerate(columns))


def encode_video(
    path: Path,
    num_frames: int = 60,
    codec: str = "libx264",
    size: tuple[int, int] = (128, 64),
    gop: int = 12,
    b_frames: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.gop_size = gop
        stream.max_b_frames = b_frames
        stream.options = options or {}
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(painted(number, *size), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def encode_timed(
    path: Path, times_s: list[float], size: tuple[int, int] = (128, 64), first: int = 0, aspect: str = "1:1"
) -> Path:
    """A frame with its number, from `first` on, for each of these times, at which it is shown.

    `aspect` is that of a pixel.
    """
    tick = Fraction(1, 90_000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "12"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = tick
        stream.codec_context.sample_aspect_ratio = Fraction(*map(int, aspect.split(":")))
        for number, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(painted(first + number, *size), format="rgb24")
            frame.pts, frame.time_base = round(time_s / tick), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def times_by_pyav(path: Path) -> list[float]:
    """The time stamps of the decoded frames (seconds), from the first on."""
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0) if frame.time is not None]
    return [time_s - times[0] for time_s in times]


SLOW_THEN_FAST = [float(second) for second in range(10)] + [10 + number / 30 for number in range(60)]
"""10 seconds at 1 frame a second, then 2 at 30"""


def encode_audio(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    return path


def cut_without_encoding(source: Path, path: Path, start_s: Fraction) -> Path:
    """What `ffmpeg -ss START -c copy` makes: packets from a keyframe on, the first hidden by an edit list."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream: Any = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        shift = int(start_s / stream.time_base)
        packet: Any
        for packet in old.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = copy
                new.mux(packet)
    return path


def encode_packed(path: Path) -> Path:
    """21 frames as DivX packs them and as all of HMDB51 is: two in a packet, then one that holds nothing."""
    source = encode_video(path.with_name("plain.avi"), num_frames=21, codec="mpeg4", gop=250, b_frames=1)
    nothing, short = b"\x00\x00\x01\xb6\x50\xfa\x13\x7f", b"\x7f"
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        copy = new.add_stream_from_template(old.streams.video[0])
        first, *others = (bytes(packet) for packet in old.demux(video=0) if packet.size)
        mark = b"\x00\x00\x01\xb2DivX503b1393p"
        contents = [first.replace(b"\x00\x00\x01\xb6", mark + b"\x00\x00\x01\xb6", 1), short]
        for later, earlier in zip(others[::2], others[1::2], strict=True):
            contents += [later + earlier, nothing]
        for number, content in enumerate(contents):
            packet = av.Packet(content)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 25), copy, number == 0
            new.mux(packet)
    return path


def frames_by_pyav(path: Path) -> Iterator[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def ffmpeg(*args: str | Path, pixels: bytes = b"") -> bytes:
    """What the ffmpeg program, a build of FFmpeg that is not PyAV's, prints."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, args)]
    return subprocess.run(command, input=pixels, stdout=subprocess.PIPE, check=True).stdout


def frames_by_ffmpeg(path: Path, height: int, width: int) -> NDArray[np.uint8]:
    """Every frame, the way up it is shown.  Shape: (num_frames, height, width, 3)."""
    args = ("-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    return np.frombuffer(ffmpeg("-i", path, *args), np.uint8).reshape(-1, height, width, 3)


class Family(NamedTuple):
    """How ffmpeg writes a kind of file, and whether decord finds its frames by their number."""

    arguments: str
    seek_safe: bool
    size: tuple[int, int] = (128, 64)
    rate: str = "25"
    num_frames: int = 80


def _x264(gop: int, b_frames: int, more: str = "") -> str:
    params = f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes={b_frames}:b-adapt=0:threads=1{more}"
    return f"-pix_fmt yuv420p -c:v libx264 -preset veryfast -x264-params {params} "


def _x265(params: str) -> str:
    return f"-pix_fmt yuv420p -c:v libx265 -preset ultrafast -x265-params log-level=none:pools=1:{params} "


_LUMA = "-pix_fmt yuv420p "
_MPEG4 = _LUMA + "-c:v mpeg4 -g 12 "
_MPEG4_B = _MPEG4 + "-bf 2 "
_MPEG2_B = _LUMA + "-c:v mpeg2video -g 12 -bf 2 "
_VP8 = _LUMA + "-c:v libvpx -g 12 -deadline realtime -cpu-used 8 "
_VP9 = "-c:v libvpx-vp9 -g 12 -deadline realtime -cpu-used 8 "

FAMILIES = {
    "gop1.mp4": Family(_x264(1, 0), True),
    "gop12.mp4": Family(_x264(12, 0), True),
    "gop12_b.mp4": Family(_x264(12, 3), True),
    "gop250_b.mp4": Family(_x264(250, 3), True),
    "gop12_b.mov": Family(_x264(12, 3), True),
    "gop12_b.mkv": Family(_x264(12, 3), True),
    "gop12_b.flv": Family(_x264(12, 3), True),
    "pyramid.mp4": Family(_x264(12, 5, ":b-pyramid=normal:ref=4"), True),
    "refresh.mp4": Family(_x264(250, 0, ":intra-refresh=1"), True),
    "faststart.mp4": Family(_x264(12, 3) + "-movflags faststart", True),
    "fragments.mp4": Family(_x264(12, 3) + "-movflags frag_keyframe+empty_moov", True),
    "no_edit_list.mp4": Family(_x264(12, 3) + "-use_editlist 0", True),
    "offset.mp4": Family(_x264(12, 3) + "-output_ts_offset 3", True),
    "offset.mkv": Family(_x264(12, 3) + "-output_ts_offset 3", True),
    "interlaced.mp4": Family(_x264(12, 3, ":interlaced=1") + "-flags +ilme+ildct", True),
    "10_bit.mp4": Family(_x264(12, 3) + "-pix_fmt yuv420p10le", True),
    "422.mp4": Family(_x264(12, 3) + "-pix_fmt yuv422p", True),
    "444.mp4": Family(_x264(12, 3) + "-pix_fmt yuv444p", True),
    "grey.mp4": Family(_x264(12, 3) + "-pix_fmt gray", True),
    "full_range.mp4": Family(_x264(12, 3) + "-pix_fmt yuvj420p -color_range pc", True),
    "bt709.mp4": Family(_x264(12, 3) + "-vf scale=out_color_matrix=bt709 -colorspace bt709", True),
    "60_fps.mkv": Family(_x264(12, 3), True, rate="60"),
    "ntsc.mkv": Family(_x264(12, 3), True, rate="30000/1001"),
    "240_fps.flv": Family(_x264(12, 3), True, rate="240"),
    "odd.mp4": Family(_x264(12, 3) + "-pix_fmt yuv444p", True, size=(129, 65)),
    "16_px.mp4": Family(_x264(12, 3), True, size=(16, 48)),
    "72_px.mp4": Family(_x264(12, 3), True, size=(72, 48)),
    "uhd.mp4": Family(_x264(12, 0), True, size=(3840, 2160), num_frames=1),
    "one_frame.mp4": Family(_x264(12, 3), True, num_frames=1),
    "two_frames.mkv": Family(_x264(12, 3), True, num_frames=2),
    "übung mit leerzeichen 視頻.mp4": Family(_x264(12, 3), True),
    "25%d.mp4": Family(_x264(12, 3), True),
    "open_gop12.mp4": Family(_x264(12, 3, ":open-gop=1"), False),
    "open_gop12.mkv": Family(_x264(12, 3, ":open-gop=1"), False),
    "open_gop60.mp4": Family(_x264(60, 3, ":open-gop=1"), False),
    "live.mkv": Family(_x264(12, 3) + "-live 1", False),
    "h264.avi": Family(_x264(12, 3), False),
    "h264_no_b.avi": Family(_x264(12, 0), False),
    "h264.ts": Family(_x264(12, 3), False),
    "h264.h264": Family(_x264(12, 3), False),
    "hevc.mp4": Family(_x265("keyint=12:bframes=4"), False),
    "hevc.mkv": Family(_x265("keyint=12:bframes=4"), False),
    "hevc.ts": Family(_x265("keyint=12:bframes=4"), False),
    "hevc_closed.mp4": Family(_x265("keyint=12:bframes=4:open-gop=0"), True),
    "hevc_10_bit.mp4": Family(_x265("keyint=12:open-gop=0") + "-pix_fmt yuv420p10le", True),
    "mpeg4.mp4": Family(_MPEG4, True),
    "mpeg4.mkv": Family(_MPEG4, True),
    "mpeg4.avi": Family(_MPEG4, True),
    "mpeg4_b.mp4": Family(_MPEG4_B, False),
    "mpeg4_b.mkv": Family(_MPEG4_B, False),
    "mpeg4_b.avi": Family(_MPEG4_B, False),
    "mpeg4_b_one_key.avi": Family(_LUMA + "-c:v mpeg4 -g 250 -bf 2", False),
    "xvid.avi": Family(_LUMA + "-c:v libxvid -g 12 -vtag XVID", True),
    "msmpeg4.avi": Family(_LUMA + "-c:v msmpeg4 -g 12", True),
    "mjpeg.avi": Family("-pix_fmt yuvj420p -c:v mjpeg -q:v 3", True),
    "mjpeg.mov": Family("-pix_fmt yuvj420p -c:v mjpeg -q:v 3", True),
    "prores.mov": Family("-c:v prores_ks", True),
    "png.mov": Family("-c:v png", True),
    "ffv1.mkv": Family("-c:v ffv1", True),
    "mpeg1.mpg": Family(_LUMA + "-c:v mpeg1video -g 12 -bf 2", False),
    "mpeg2.mpg": Family(_MPEG2_B, False),
    "mpeg2.ts": Family(_MPEG2_B, False),
    "mpeg2.mp4": Family(_MPEG2_B, False),
    "mpeg2.mkv": Family(_MPEG2_B, False),
    "wmv1.wmv": Family(_LUMA + "-c:v wmv1 -g 12", False),
    "wmv2.wmv": Family(_LUMA + "-c:v wmv2 -g 12", False),
    "sorenson.flv": Family(_LUMA + "-c:v flv -g 12", True),
    "h263.3gp": Family(_LUMA + "-c:v h263 -g 12", True, size=(176, 144)),
    "real.rm": Family(_LUMA + "-c:v rv10", False, size=(176, 144)),
    "theora.ogv": Family(_LUMA + "-c:v libtheora -g 12", False),
    "vp8.webm": Family(_VP8, True),
    "live.webm": Family(_VP8 + "-live 1", False),
    "vp9.webm": Family(_LUMA + _VP9, True),
    "vp9.mp4": Family(_LUMA + _VP9, True),
    "vp9_10_bit.webm": Family("-pix_fmt yuv420p10le " + _VP9, True),
    "av1.mp4": Family(_LUMA + "-c:v libsvtav1 -preset 12 -g 12", False),
    "av1.webm": Family(_LUMA + "-c:v libsvtav1 -preset 12 -g 12", False),
    "gif.gif": Family("-pix_fmt rgb8", False),
}

_UNEVEN = "setpts='if(lt(N,40),N,40+(N-40)*8)/25/TB'"


class Remake(NamedTuple):
    """How ffmpeg makes a file of another one."""

    source: str
    before: str
    after: str
    seek_safe: bool


REMAKES = {
    "cut_early.mp4": Remake("gop12_b.mp4", "-ss 0.9", "-c copy", False),
    "cut_late.mp4": Remake("gop12_b.mp4", "-ss 1.6", "-c copy", False),
    "cut_far.mp4": Remake("gop250_b.mp4", "-ss 1.6", "-c copy", False),
    "cut_open.mp4": Remake("open_gop12.mp4", "-ss 0.9", "-c copy", False),
    "cut.mkv": Remake("gop12_b.mp4", "-ss 0.9", "-c copy", True),
    "cut_open.mkv": Remake("open_gop12.mkv", "-ss 1.0", "-c copy", False),
    "cut_hevc.mkv": Remake("hevc.mkv", "-ss 1.0", "-c copy", False),
    "cut_mpeg2.mkv": Remake("mpeg2.mkv", "-ss 1.0", "-c copy", False),
    "cut.avi": Remake("mpeg4_b.avi", "-ss 1.0", "-c copy", False),
    "turned_90.mp4": Remake("gop12_b.mp4", "-display_rotation 90", "-c copy", True),
    "turned_180.mp4": Remake("gop12_b.mp4", "-display_rotation 180", "-c copy", True),
    "turned_270.mov": Remake("gop12_b.mp4", "-display_rotation 270", "-c copy", True),
    "turned_90.mkv": Remake("gop12_b.mkv", "-display_rotation 90", "-c copy", False),
    "mirrored.mp4": Remake("gop12_b.mp4", "-display_hflip", "-c copy", False),
    "mirrored_turned.mp4": Remake("gop12_b.mp4", "-display_rotation 90 -display_hflip", "-c copy", False),
    "sound.mp4": Remake("gop12_b.mp4", "-f lavfi -i sine=duration=6", "-c:v copy -c:a aac", True),
    "sound.mkv": Remake("gop12_b.mp4", "-f lavfi -i sine=duration=6", "-c:v copy -c:a libmp3lame", True),
    "two_videos.mkv": Remake("gop12_b.mkv", "", "-map 0:v -map 0:v -c copy", False),
    "uneven.mp4": Remake("gop12_b.mp4", "", f"-vf {_UNEVEN} -fps_mode vfr -c:v libx264 -g 12", True),
    "uneven.mkv": Remake("gop12_b.mp4", "", f"-vf {_UNEVEN} -fps_mode vfr -c:v libx264 -g 12", True),
}


def make_family(folder: Path, name: str) -> Path:
    """A file of FAMILIES or REMAKES."""
    path = folder / name
    if path.exists():
        return path
    if remake := REMAKES.get(name):
        source = make_family(folder, remake.source)
        ffmpeg(*remake.before.split(), "-i", source, *remake.after.split(), path)
        return path
    family = FAMILIES[name]
    width, height = family.size
    pixels = b"".join(painted(number, width, height).tobytes() for number in range(family.num_frames))
    size = ("-s", f"{width}x{height}", "-r", family.rate)
    ffmpeg(
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        *size,
        "-i",
        "-",
        *family.arguments.split(),
        f"file:{path}",
        pixels=pixels,
    )
    return path
