"""The claims of book/evidence.md, each with the paper's figure and ours."""

from builder.claims.claim import Claim, Section
from builder.claims.costs import ablations, outliers, speed
from builder.claims.loss_and_needles import language, long_context, needles
from builder.claims.prompts import faithfulness, in_context

SECTIONS = (
    language,
    needles,
    long_context,
    in_context,
    faithfulness,
    outliers,
    ablations,
    speed,
)

__all__ = ["SECTIONS", "Claim", "Section"]
