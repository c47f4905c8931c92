"""Learning to rank from clicks: how users click, losses that undo what they did not see, and ranking metrics.

Shapes and argument order are those of rax: `scores` and `labels` `[..., L]` over the L documents of a list, then
keywords, `where=` for the documents that exist. Losses and metrics give one number per list, `[...]`; the two that
weigh lists against each other say so in their first line. Lists stand in the order in which users saw them wherever
clicks are concerned: position 1 first.
"""

from jaxlab.ranking import dla
from jaxlab.ranking._clicks import (
    cascade_examination,
    click_probability,
    position_bias_examination,
    sample_cascade_clicks,
    sample_clicks,
    trust_bias_click_probability,
)
from jaxlab.ranking._examination_error import relative_examination_error
from jaxlab.ranking._softmax_loss import softmax_loss

__all__ = [
    "cascade_examination",
    "click_probability",
    "dla",
    "position_bias_examination",
    "relative_examination_error",
    "sample_cascade_clicks",
    "sample_clicks",
    "softmax_loss",
    "trust_bias_click_probability",
]
