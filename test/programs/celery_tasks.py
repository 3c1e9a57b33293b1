# SPDX-License-Identifier: BSD-3-Clause
"""The Celery application that celery_program.py's workers run: broker in database 0, results in
database 1 of the server at port PROGRAM_PORT."""

import os
import time

from celery import Celery

PORT = os.environ["PROGRAM_PORT"]

app = Celery(
    "programs",
    broker=f"redis://127.0.0.1:{PORT}/0",
    backend=f"redis://127.0.0.1:{PORT}/1",
)
app.conf.update(
    broker_transport_options={
        "priority_steps": [0, 3, 6, 9],
        "queue_order_strategy": "priority",
        "visibility_timeout": 60,
    },
    task_default_queue="default",
    task_routes={"celery_tasks.multiply": {"queue": "math"}},
    result_expires=600,
    worker_send_task_events=True,
    worker_hijack_root_logger=False,
)


@app.task
def add(x, y):
    return x + y


@app.task
def multiply(x, y):
    return x * y


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def fail(text):
    raise ValueError(text)


@app.task(bind=True, max_retries=3)
def flaky(self, times):
    if self.request.retries < times:
        raise self.retry(countdown=0.05)
    return self.request.retries


@app.task
def now():
    return time.time()


@app.task(bind=True)
def progressing(self):
    self.update_state(state="PROGRESS", meta={"done": 40})
    time.sleep(0.3)
    return "done"


@app.task(ignore_result=True)
def note(name):
    app.backend.client.rpush("noted", name)
