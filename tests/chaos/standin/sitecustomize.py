"""Lets the platform's own deployment controller start a stand-in for the model server, where a document asks for one.

A replica with TensorFlow takes five seconds of a processor to start, and nothing of what it does then differs here.
"""

import os
import sys

if os.environ.get("MODEL_URI", "").startswith("standin:") and "chandlery.inference" in sys.orig_argv:
    os.execv(sys.executable, [sys.executable, os.environ["CHAOS_STANDIN"]])
