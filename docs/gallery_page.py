"""What docs/gallery/index.md shows: one entry for every command, in the page's order, and where its picture is from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

GALLERY = Path(__file__).parent / "gallery"
IMAGES = Path(__file__).parent / "images"
REPRODUCTION = Path(__file__).parent / "reproduction"

DRAWN = "Drawn by `make gallery`."
QUICK = "The smaller setting of `--quick`, which the picture states, drawn by `make gallery`."


@dataclass(frozen=True)
class Entry:
    """One picture or table of the page: how it is made, and what it shows."""

    title: str
    command: str
    shown: str
    """Path from docs/gallery of a picture, or of a table in Markdown."""
    about: str
    origin: str = DRAWN

    @property
    def path(self) -> Path:
        """The file that is shown."""
        return GALLERY / self.shown


def entries() -> list[Entry]:
    """All that the page shows."""
    return [*_runs(), *_figures(), *_tables()]


def _runs() -> list[Entry]:
    return [
        Entry(
            "Training",
            "splinegeo train RUN",
            "train.png",
            "A run folder's metrics along training: the network memorises, then generalises while its centroids align.",
        ),
        Entry(
            "Regions",
            "splinegeo regions RUN --checkpoint final --half-width 5 --picture regions.png",
            "regions.png",
            "The network of Figure 1 near the mean of three digits, where single regions can be told apart. Edges thin "
            "with density; arrows at the border point to what lies outside the view.",
        ),
        Entry(
            "Centroids",
            "splinegeo centroids RUN --grid 4x8",
            "centroids.png",
            "Training images and their centroids at memorisation and at the end, each on a scale that is white at "
            "zero.",
        ),
        Entry(
            "Centroids of a layer, averaged over noise",
            "splinegeo centroids RUN --checkpoint 0,memorised,final --component 2 --local --samples 0-11 "
            "--scale image --theme dark",
            "centroids_local.png",
            "The first hidden layer's local centroids (arXiv 2604.11962) at three checkpoints, each image on a scale "
            "of its own.",
        ),
        Entry(
            "Migration",
            "splinegeo migrate RUN --half-width 10",
            "migration_frame.png",
            "A frame of the video: the regions on one slice, the regions about each digit enlarged, the centroids' "
            "trails as seen from the origin, and the run's curves with a moving cursor.",
        ),
        Entry(
            "Stills of a migration, coloured by activation pattern",
            "splinegeo migrate RUN --half-width 10 --color pattern --theme dark --still-epochs 0,memorised,final",
            "migration_strip.png",
            "A pattern keeps its colour at every checkpoint; patterns that differ in few units have similar colours.",
        ),
        Entry(
            "Robustness",
            "splinegeo robustness RUN --noise 0.1,0.2,0.3,0.4,0.5 --epsilon 1/255,2/255,4/255,8/255,16/255 "
            "--picture robustness.png",
            "robustness.png",
            "Test accuracy under Gaussian noise and under an attack: what is lost at memorisation, and what the "
            "generalised network withstands.",
        ),
        Entry(
            "Explorer",
            "splinegeo explore RUN --checkpoint memorised --select 6,2",
            "../images/explorer.png",
            "The regions in napari: a slider over the checkpoints, and a panel for the region that was clicked. See "
            "[the explorer's page](../explorer.md).",
        ),
        Entry(
            "A page to share",
            "splinegeo export-html RUN --frames 6",
            "../images/export_html.png",
            "The same in one self-contained HTML file. See [its page](../export_html.md).",
        ),
    ]


def _figures() -> list[Entry]:
    return [
        Entry(
            "Figure 1",
            "splinegeo figure 1 RUN",
            "figure1.png",
            "The linear regions of a 784-196-196-196-10 network on the slice through three MNIST digits, at "
            "memorisation and after generalisation, coloured by the norm of each region's linear map. The lens shows "
            "the digits' centroids: in the aligned network they point along the digits.",
        ),
        _reproduced("2", "figure2.png", "PC1 of the Jacobian along training.", True),
        Entry(
            "Figure 3",
            "splinegeo figure 3",
            "figure3.png",
            "Tangent kernel, centroid inner product and alignment of a scalar network, and the rate of Theorem 9. "
            + _page("figure3.md"),
            "The paper's setting on the embedded digits, drawn by `make gallery`.",
        ),
        _reproduced("4", "figure4.png", "XOR clusters: accuracy under noise, without and with GrokAlign.", True),
        _reproduced("5 --quick --data-file FILE", "figure5_quick.png", "CIFAR-10: accuracy, robustness and alignment."),
        _reproduced(
            "6 --data-sets mnist",
            "figure6_mnist.png",
            "Training images, and their centroids without and with GrokAlign.",
        ),
        _reproduced("7", "figure7.png", "Jacobian norms held at a level against Jacobian norms minimised.", True),
        Entry(
            "Figure 8",
            "splinegeo figure 8 --quick",
            "figure8_quick.png",
            f"A transformer on modular addition, learnt embeddings. {_page('figure8.md')}",
            QUICK,
        ),
        _reproduced(
            "9 --steps 10000", "figure9_10000_steps.png", "A transformer on modular addition, fixed embeddings."
        ),
        Entry(
            "Figure 10",
            "splinegeo figure 10",
            "figure10.png",
            f"Weight and output scaling against alignment. {_page('figure10.md')}",
            "The setting of Figure 3 at nine scales, drawn by `make gallery`.",
        ),
        Entry(
            "Figure 11",
            "splinegeo figure 11 RUN",
            "../reproduction/figure11_1.png",
            f"Figure 1 on another slice, the first of three. {_page('figure11.md')}",
        ),
        Entry(
            "Norm minimisation",
            "splinegeo norm-minimisation",
            "../reproduction/norm_minimisation.png",
            "Norm minimisation on the zero-loss manifold (arXiv 2511.01938): gradient descent beside its simulation. "
            + _page("norm_minimisation.md"),
            "The full setting, made by `make reproduce`.",
        ),
    ]


def _tables() -> list[Entry]:
    about = {
        "1": "Epochs and seconds to 85 % test accuracy, by method; other work on the machine lengthens the seconds.",
        "2": "How the Jacobian's rows align with the training points.",
    }
    options = {"1": " --methods baseline,grokalign", "2": ""}
    return [
        Entry(
            f"Table {n}",
            f"splinegeo table {n} --quick{options[n]}",
            f"table{n}_quick.md",
            f"{text} {_page(f'table{n}.md', 'At the setting of the paper')}",
            QUICK.replace("picture", "table").replace("drawn", "made"),
        )
        for n, text in about.items()
    ]


def _reproduced(arguments: str, picture: str, about: str, by_make: bool = False) -> Entry:
    """A figure that docs/reproduction holds: drawing it takes hours, or data that are not embedded."""
    n = arguments.split()[0]
    ways = {
        "5": "The smaller setting of `--quick`, which the picture states; from a file of CIFAR-10 that you give.",
        "6": "The full setting, made by the command above: two runs as long as the demo's.",
        "9": "The paper's network and data, stopped after 10 000 of 48 000 steps.",
    }
    origin = "The full setting, made by `make reproduce`." if by_make else ways[n]
    shown = f"../reproduction/{picture}"
    return Entry(f"Figure {n}", f"splinegeo figure {arguments}", shown, f"{about} {_page(f'figure{n}.md')}", origin)


def _page(name: str, text: str = "More about it") -> str:
    return f"[{text}](../reproduction/{name})."


def page(shown: Sequence[Entry]) -> str:
    """The page in Markdown; what has no file yet is left out."""
    lines = [
        "# Gallery",
        "",
        "One picture or table for every command. `make gallery` draws those of this folder from the run of "
        "`make demo` on the embedded MNIST; `docs/draw_gallery.py` says how. Each entry says of which setting it is.",
        "",
    ]
    for entry in shown:
        if not entry.path.exists():
            continue
        lines += [f"## {entry.title}", "", "```sh", entry.command, "```", ""]
        if entry.path.suffix == ".md":
            lines += [entry.path.read_text(encoding="utf-8").strip()]
        else:
            lines += [f"![{entry.title}]({entry.shown})"]
        lines += ["", entry.about, "", f"*{entry.origin}*", ""]
    return "\n".join(lines)
