"""Say how an inspection was done, and what its words and numbers mean."""

from limelight.engine.provenance import versions
from limelight.inspection import concepts
from limelight.inspection.findings import ALPHA, MARGIN, Inspection
from limelight.inspection.proof import FEWEST, MOST
from limelight.pages.formatting import format_count
from limelight.pages.inspection.words import count_classes
from limelight.pages.page import Block, Code, Details, Section, Table
from limelight.text import to_json

SIGNS = [
    ["fixed", "how far the relevance stays at one place of the picture, whatever the picture: 1 for a mark that stays"],
    ["isolated", "1 − p of a group as isolated from the other maps as this one where places mean nothing"],
    [
        "alike",
        "how far what lies under the maxima of the maps is told from what lies there in other classes: 2 AUC − 1",
    ],
    ["outside", "share of the relevance that lies outside of the objects, where it is known where they are"],
]

OF = {"label": "the class of its label", "prediction": "the class that the network predicts"}


def describe_inspection(inspection: Inspection) -> Section:
    """Show what was done, what a verdict needs, and what fixes the numbers."""
    unread = inspection.progress.unreadable
    there = [name for name in inspection.names if name in unread]
    blocks: list[Block] = [
        f"{count_classes(inspection)}, of {format_count('picture', len(inspection.names))} in the data set, were "
        f"explained by `{inspection.method}`, each for {OF.get(inspection.of, inspection.of)}. The maps of a class "
        "were put in clusters, and groups of maps that are dense and apart stand beside these, and clusters of what "
        "the network's last layer is given; where it is known where the objects are, also clusters of what its last "
        "maps hold where most of the relevance beside the object is. Each group is a candidate for a strategy, and so "
        "is the whole class.",
        Table("How suspicious a strategy is.", ["sign", "meaning"], SIGNS),
        "The most suspicious were tried, with evidence of up to five kinds. At a place: the smallest region that holds "
        "half of the mean relevance. At no fixed place: the same around each map's maximum. What is the same: where "
        "the pictures agree pixel by pixel, far more than others do. How the whole picture looks: the amplitudes of "
        "its frequencies, as a multiple of other pictures', and the waves that are far louder. Beside the objects, "
        "where these are known: around the maximum of the map outside of a rectangle around the object; that is tried "
        "for the whole class, and for groups that are alike there.",
        "The evidence is known from one half of a strategy's pictures; those of the other half, up to "
        f"{MOST}, are changed, and the network is asked about them. Each change has a control of its own, from which "
        "differences are: a region of the same shape elsewhere, what other pictures have in common at the same place, "
        "the patches of the class's other pictures, what lies elsewhere beside the same object, or the look of others. "
        "What pictures have in common is their median, only where they differ far less from it than others do from "
        "theirs; what is pasted fades out around the patch.",
        "A rate is the share of pictures that the network takes for the class, with the 95 % interval of Wilson; a "
        "difference of two has the 95 % interval of a paired bootstrap, over what is pasted where that differs. p is "
        "that of McNemar's exact test, two-sided: how probable so large a difference is where the change makes none. "
        "It is not the probability that a verdict is wrong.",
        "A strategy is proven if what its pictures have in common, or what lies beside their objects, makes pictures "
        "of other classes the class, or if the class is lost without what of the patch lies outside of the objects. "
        f"Each difference has to be beyond {100 * MARGIN:z.0f} points at the nearer end of its interval, with "
        f"p < {ALPHA:g} after correction for all "
        f"such trials (Holm 1979). It takes {FEWEST} pictures of the strategy and as many of other classes. What is "
        "not proven may still be there; what is proven holds for this network, these pictures and these changes.",
        *[_describe_parts()] * any(one.parts is not None for one in inspection.strategies),
        Details("What fixes the maps", [Code(to_json(dict(inspection.settings), 1))]),
        Details(
            "Versions", [Table("What made this page.", ["what", "version"], [[k, v] for k, v in versions().items()])]
        ),
    ]
    if there:
        rows = [[name, unread[name]] for name in there]
        blocks.append(
            Details(
                f"{format_count('picture', len(rows))} can't be read",
                [Table("Pictures that were left out, and why.", ["picture", "why"], rows)],
            )
        )
    return Section("Protocol", blocks)


def _describe_parts() -> str:
    """Say how it is found out what a strategy is, beside where."""
    half = concepts.PICTURES // 2
    return (
        f"What a strategy is, beside where, was looked for of up to {concepts.PROVEN} proven ones and the "
        f"{concepts.OTHERS} most suspicious others, in the network's last layer with a map. Up to {half} of a "
        f"strategy's pictures and {half} others say of which {concepts.PARTS} parts, none of them below 0, the "
        "activations are made (Collins et al. 2018). The others are the class's other pictures, explained for the same "
        f"class; where there are fewer than {concepts.FEWEST_OTHERS}, pictures of other classes, each explained for "
        "the class that the network gives it; and where these are fewer too, there are none. Relevance is passed back "
        "by the rules of `lrp`; a part's share is its relevance at the layer over the sum of all absolute relevance "
        f"there. Of up to {concepts.SHOWN} parts whose share is larger in the strategy's pictures, by "
        f"{100 * concepts.LEAST:z.0f} points, the shares that are told are of as many pictures again, with the 95 % "
        "interval of a bootstrap over pictures; shown are parts whose intervals lie apart. The pictures below a part "
        "show the relevance that passes the layer through it alone (Achtibat et al. 2023; red for the class, blue "
        f"against it), and crops from where it is most active in up to {concepts.REFERENCES} pictures. Stability is "
        "the mean cosine similarity of a part with its like from other random starts: far below 1, another seed gives "
        "another part."
    )
