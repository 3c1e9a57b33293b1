// SPDX-License-Identifier: BSD-3-Clause
//
// How Celery waits for a result: SUBSCRIBE on one connection, not awaited; LPUSH of the task on a
// second; GET of the result, once, on a third; then it waits on the first for ever. A worker takes
// the task by BRPOP over several queues, and answers with SETEX and PUBLISH in one MULTI. SUBSCRIBE
// was sent before the task was, so either the GET finds the result or the message comes.

package main

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
)

const (
	waiters = 4
	workers = 4
)

func celery(l *lab) {
	queues := []string{}
	for i := 0; i < 4; i++ {
		queues = append(queues, fmt.Sprintf("celery%d:q%d", l.seed, i))
	}
	var stop, early int64
	var working sync.WaitGroup
	working.Add(workers)
	go together(workers, func(i int) {
		defer working.Done()
		c := l.connect()
		defer c.close()
		for n := 0; atomic.LoadInt64(&stop) == 0; n++ {
			answerTask(l, c, queues, n)
		}
	})
	together(waiters, func(i int) {
		a, b, c := l.connect(), l.connect(), l.connect()
		defer a.close()
		defer b.close()
		defer c.close()
		for n := 0; !l.isOver(); n++ {
			task := fmt.Sprintf("celery%d:meta-%d-%d", l.seed, i, n)
			if !awaitResult(l, [3]*conn{a, b, c}, queues[(i+n)%len(queues)], task, &early) {
				return
			}
			l.count(1)
		}
	})
	atomic.StoreInt64(&stop, 1)
	working.Wait()
	l.note("%d results were there before the message", early)
}

func answerTask(l *lab, c *conn, queues []string, n int) {
	r := l.must(c, append(append([]string{"BRPOP"}, queues...), "0.1")...)
	if r.isNil {
		return
	}
	task := r.items[1].text
	if !l.has("transactions") {
		l.must(c, "SETEX", task, "60", "done")
		l.must(c, "PUBLISH", task, "done")
		return
	}
	c.put("MULTI")
	c.put("SETEX", task, "60", "done")
	if l.sabotage != "lost" || n%100 != 99 {
		c.put("PUBLISH", task, "done")
	} else {
		c.put("PING")
	}
	c.put("EXEC")
	err := c.flush()
	for i := 0; i < 4 && err == nil; i++ {
		r, err = c.read()
	}
	if err != nil || len(r.items) != 2 {
		l.violation("EXEC of SETEX and PUBLISH: %s %s %v", r, r.text, err)
		l.finish()
	}
}

// awaitResult is one task's life; false ends the waiter.
func awaitResult(l *lab, conns [3]*conn, queue, task string, early *int64) bool {
	a, b, c := conns[0], conns[1], conns[2]
	a.put("SUBSCRIBE", task)
	a.flush()
	l.must(b, "LPUSH", queue, task)
	isThere := l.must(c, "GET", task).text == "done"
	if isThere {
		atomic.AddInt64(early, 1)
	}
	a.put("UNSUBSCRIBE", task)
	if isThere {
		a.flush()
	}
	limit := readLimit / 10
	for {
		r, err := a.readWithin(limit)
		if err != nil {
			l.violation("%s: neither GET nor a message told the result after %v: %v", task, limit, err)
			return false
		}
		switch r.items[0].text {
		case "message":
			if !isThere {
				a.flush()
			}
		case "unsubscribe":
			if r.items[2].text != strconv.Itoa(0) {
				l.violation("UNSUBSCRIBE left %s", r)
			}
			return true
		}
	}
}
