"""Pictures at once, over the two routes that the OpenAI-style models share.

The chat route and Gemini's own belong to the text family; what picture models say there comes from here.
"""

from service.simulator.images.elsewhere import image_chat_text, image_parts
from service.simulator.images.routes import Images

__all__ = ["Images", "image_chat_text", "image_parts"]
