"""How much Collection-CAM changes if single channels start at the distance that Algorithm 1 has to the letter.

    python benchmarks/collection_cam_singletons.py PHOTOS [--model NAME] [--weights FILE] [--count 6]

Prints, for each picture, in which layers the groups differ and how far the maps are apart.
"""

import argparse
from pathlib import Path

import limelight as ll
from limelight.data.images import list_images


def groups(partition: list[int]) -> set[frozenset[int]]:
    """Return the groups of a partition, whatever their numbers; -1 is no channel."""
    return {frozenset(k for k, g in enumerate(partition) if g == group) for group in set(partition) - {-1}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model", default="torchvision/squeezenet1_0")
    parser.add_argument("--weights", default="DEFAULT")
    parser.add_argument("--count", type=int, default=6)
    given = parser.parse_args()
    classifier = ll.load(given.model, weights=given.weights)
    photos = list_images(given.photos)
    for photo in photos[:: max(1, len(photos) // given.count)][: given.count]:
        methods = [ll.method("collection-cam", singletons=start) for start in ("equation", "algorithm")]
        by_equation, by_algorithm = ll.explain(classifier, photo, methods)[0]
        pairs = zip(by_equation.details["partition"].tolist(), by_algorithm.details["partition"].tolist(), strict=True)
        changed = [groups(a) != groups(b) for a, b in pairs]
        apart = float((by_equation.map - by_algorithm.map).abs().max())
        print(f"{photo.name}: groups differ in {sum(changed)} of {len(changed)} layers, maps by up to {apart:.2f}")


if __name__ == "__main__":
    main()
