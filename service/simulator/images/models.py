"""What a picture model takes and how it answers, by the beginning of its name; the table of the reference.

A name that no row knows is taken with any field and answered with links.
"""

from typing import Any

import msgspec

GPT_ONLY = frozenset(
    ("output_format", "output_compression", "background", "moderation", "stream", "partial_images", "input_fidelity")
)
GPT_REFUSES = frozenset(("response_format", "style"))
GPT_SIZES = ("auto", "1024x1024", "1536x1024", "1024x1536")
DALL_E_2_SIZES = ("256x256", "512x512", "1024x1024")
DALL_E_3_SIZES = ("1024x1024", "1792x1024", "1024x1792")
GPT_QUALITIES = ("auto", "low", "medium", "high")
MAX_EDGE = 3840
MIN_AREA_OF_LARGE_SEEDREAM = 3_686_400
UNSAID = (None, "auto")


class ImageModel(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table.

    Attributes:
        prefix: How its names begin.
        max_prompt: Limit of the prompt.
        most: Limit of `n`.
        sizes: What `size` may be; empty for any.
        qualities: What `quality` may be; empty for any.
        refuses: Fields that it does not know.
        inline: It always answers with base64.
        transparent: It can leave out the background.
        max_edge: Longest side; None without a limit.
        min_area: Fewest pixels.
        seed: It answers in the shape of the seed models.
        has_image_route: It is answered here at all.
    """

    prefix: str
    max_prompt: int = 32000
    most: int = 10
    sizes: tuple[str, ...] = ()
    qualities: tuple[str, ...] = ()
    refuses: frozenset[str] = frozenset()
    inline: bool = False
    transparent: bool = True
    max_edge: int | None = None
    min_area: int = 0
    seed: bool = False
    has_image_route: bool = True

    @property
    def dall_e(self) -> bool:
        """Whether it takes square PNGs only and tells its revised prompt."""
        return self.prefix.startswith("dall-e")

    def fault_in(self, body: Any) -> tuple[str, str] | None:
        """Find what this model does not take in a body: the field and a message."""
        size, quality = body.size, getattr(body, "quality", "auto")
        if len(body.prompt) > self.max_prompt:
            return "prompt", f"string too long: at most {self.max_prompt} characters"
        if getattr(body, "n", 1) > self.most:
            return "n", f"at most {self.most} pictures"
        if self._size_is_wrong(size):
            return "size", f"Invalid size '{size}'. Supported sizes are {', '.join(self.sizes) or self._size_rule()}."
        if self.qualities and quality not in (*UNSAID, *self.qualities):
            return "quality", f"Invalid quality '{quality}'. Supported are {', '.join(self.qualities)}."
        if getattr(body, "background", None) == "transparent":
            return self._fault_in_transparency(body.output_format)
        return None

    def _size_rule(self) -> str:
        return f"at least {self.min_area} pixels" if self.min_area else f"edges up to {self.max_edge}"

    def _size_is_wrong(self, size: str) -> bool:
        if size == "auto" or "x" not in size:
            return False
        if self.sizes:
            return size not in self.sizes
        width, _, height = size.partition("x")
        too_long = self.max_edge is not None and max(int(width), int(height)) > self.max_edge
        return too_long or int(width) * int(height) < self.min_area

    def _fault_in_transparency(self, output_format: str) -> tuple[str, str] | None:
        if not self.transparent:
            return "background", "Transparent background is not supported for this model."
        if output_format == "jpeg":
            return "background", "Transparent background needs png or webp."
        return None


def _gpt(prefix: str, **more: Any) -> ImageModel:
    return ImageModel(prefix=prefix, qualities=GPT_QUALITIES, refuses=GPT_REFUSES, inline=True, **more)


MODELS = (
    ImageModel(
        prefix="dall-e-3",
        max_prompt=4000,
        most=1,
        sizes=DALL_E_3_SIZES,
        qualities=("standard", "hd"),
        refuses=GPT_ONLY,
    ),
    ImageModel(
        prefix="dall-e-2",
        max_prompt=1000,
        sizes=DALL_E_2_SIZES,
        qualities=("standard",),
        refuses=GPT_ONLY | {"style"},
    ),
    _gpt("gpt-image-1.5", sizes=GPT_SIZES),
    _gpt("gpt-image-1", sizes=GPT_SIZES, transparent=False),
    _gpt("gpt-image-", max_edge=MAX_EDGE, transparent=False),
    ImageModel(prefix="qwen-image", most=1),
    ImageModel(prefix="gemini", has_image_route=False),
    ImageModel(prefix="doubao-seedream-5", seed=True, min_area=MIN_AREA_OF_LARGE_SEEDREAM),
    ImageModel(prefix="seedream-5", seed=True, min_area=MIN_AREA_OF_LARGE_SEEDREAM),
    ImageModel(prefix="doubao", seed=True),
    ImageModel(prefix="seedream", seed=True),
    ImageModel(prefix="bytedance", seed=True),
    ImageModel(prefix=""),
)


def model_of(name: str) -> ImageModel:
    """Find the row of a model's name."""
    return next(row for row in MODELS if name.lower().startswith(row.prefix))
