"""Tests of recipes in docs/recipes.md that need a browser or a compiler: they speak the stream of a running server."""

import base64
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hand_motion import moving_hands
from waiting import PATIENCE_S

from .browser import chromium, tab
from .processes import Stack, stack

pytestmark = pytest.mark.long(30)

ROOT = Path(__file__).parents[2]
RECIPES = (ROOT / "docs/recipes.md").read_text()
FRAMES = 60


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Stack]:
    with stack(tmp_path_factory.mktemp("data"), ROOT / "bundles") as running:
        running.api()
        yield running


def block(language: str, containing: str) -> str:
    """Return the one block of the recipes in a language that contains a text."""
    (found,) = (text for text in re.findall(rf"```{language}\n(.*?)```", RECIPES, re.DOTALL) if containing in text)
    return found


def test_the_webxr_recipe_streams_from_a_browser(site):
    """The page has the objects of a headset: sources whose joints have poses."""
    joints, stream = block("js", "function joints"), block("js", "new WebSocket")
    joints = joints[: joints.index("const answer")]
    stream = stream.replace("ws://127.0.0.1:8000", site.url.replace("http", "ws"))
    program = f"""async (frames) => {{
        {joints}
        const seen = [], draw = (left, right) => seen.push([left, right]), space = {{}};
        const source = (side) => ({{ hand: new Map(frames[0][0].map((_, joint) => [joint, [side, joint]])) }});
        const leftSource = source(0), rightSource = source(1);
        {stream}
        await new Promise((done) => stream.addEventListener("open", done));
        for (const [number, hands] of frames.entries()) {{
          const position = ([side, joint]) => Object.fromEntries("xyz".split("").map((axis, i) => [axis, hands[side][joint][i]]));
          onFrame(number * 1000 / 90, {{ getJointPose: (joint) => ({{ transform: {{ position: position(joint) }} }}) }});
          await new Promise((done) => setTimeout(done, 20));
        }}
        await new Promise((done) => setTimeout(done, 500));
        return seen;
    }}"""
    hands = moving_hands(FRAMES, hands=2, order="webxr").reshape(FRAMES, 2, 25, 3)
    with chromium() as browser, tab(browser, site.url) as page:
        seen = page.evaluate(program, hands.tolist())
    assert len(seen) > FRAMES // 4
    assert np.abs(np.array(seen[-1]) - hands[-1]).max() < 0.05


PROGRAM = """
public static class Program {
  public static void Main(string[] arguments) { Run(arguments).GetAwaiter().GetResult(); }

  static async System.Threading.Tasks.Task Run(string[] arguments) {
    var stream = new HandStream();
    await stream.Open(arguments[0]);
    var bytes = System.IO.File.ReadAllBytes(arguments[1]);
    var points = new float[stream.Future.Length];
    await stream.Receive(); // ready
    int size = 4 * points.Length, answered = 0;
    for (int start = 0; start < bytes.Length; start += size) {
      System.Buffer.BlockCopy(bytes, start, points, 0, size);
      await stream.Frame(points, start / size / 72.0);
      if (await stream.Receive()) answered++;
    }
    var future = new byte[size];
    System.Buffer.BlockCopy(stream.Future, 0, future, 0, size);
    System.Console.WriteLine(answered + " " + System.Convert.ToBase64String(future));
  }
}
"""


def test_the_unity_recipe_compiles_and_streams(site, tmp_path):
    """Mono stands for Unity, whose scripts it ran; only the class that speaks the stream needs nothing of the engine."""
    compiler, runtime = shutil.which("mcs"), shutil.which("mono")
    if compiler is None or runtime is None:
        pytest.skip("no mcs and mono on the PATH; `apt-get install mono-mcs` brings both")
    (tmp_path / "recipe.cs").write_text(block("csharp", "class HandStream") + PROGRAM)
    hands = moving_hands(FRAMES, hands=2, order="unity-xr") * [1, 1, -1]
    (tmp_path / "frames").write_bytes(hands.astype("<f4").tobytes())
    program, url = tmp_path / "recipe.exe", f"{site.url.replace('http', 'ws')}/forecast/hands/stream"
    subprocess.run(
        [compiler, "-warnaserror", f"-out:{program}", tmp_path / "recipe.cs"], check=True, timeout=PATIENCE_S
    )
    done = subprocess.run(
        [runtime, program, url, tmp_path / "frames"], check=True, capture_output=True, text=True, timeout=PATIENCE_S
    )
    answered, future = done.stdout.split()
    assert int(answered) > FRAMES // 2
    points = np.frombuffer(base64.b64decode(future), "<f4").reshape(52, 3)
    assert np.abs(points - hands[-1]).max() < 0.05
