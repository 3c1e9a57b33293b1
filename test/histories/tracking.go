// SPDX-License-Identifier: BSD-3-Clause
//
// Client-side caching. Each key has one writer, who writes growing numbers by all kinds of
// commands, deletes the key or renames it away now and then, and says in `known` what has been
// confirmed. Readers under CLIENT TRACKING (default, BCAST, OPTIN; RESP3) keep what they read until
// they are told that it is invalid. After a reader has noted what was known, and then had any
// reply, nothing that it has cached may be older than that.

package main

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	trackedKeys    = 32
	trackedWriters = 4
	trackedReaders = 6
)

type caching struct {
	lab   *lab
	known [trackedKeys]int64 // atomic: the highest number confirmed
}

func tracking(l *lab) {
	t := &caching{lab: l}
	var hits, reads int64
	together(trackedWriters+trackedReaders, func(i int) {
		if i < trackedWriters {
			t.write(i)
			return
		}
		r := t.reader(i - trackedWriters)
		defer r.close()
		for !l.isOver() && r.turn() {
			l.count(1)
		}
		atomic.AddInt64(&hits, r.hits)
		atomic.AddInt64(&reads, r.reads)
	})
	l.note("%d reads, %d from the cache", reads+hits, hits)
}

func (t *caching) key(key int) string {
	return fmt.Sprintf("tr%d:%d", t.lab.seed, key)
}

// ---- writers

func (t *caching) write(number int) {
	l := t.lab
	c := l.connect()
	defer c.close()
	dice := l.dice(number)
	for n := int64(1); !l.isOver(); n++ {
		// Two keys of this writer.
		a := number + trackedWriters*dice.Intn(trackedKeys/trackedWriters/2)
		b := a + trackedKeys/2
		text := strconv.FormatInt(n, 10)
		way := dice.Intn(10)
		if way == 4 && !l.has("transactions") || way == 5 && !l.has("scripts") {
			way = 0
		}
		keys := []int{a}
		switch way {
		case 1, 2:
			l.must(c, "MSET", t.key(a), text, t.key(b), text)
			keys = append(keys, b)
		case 3:
			l.must(c, "DEL", t.key(a), t.key(b))
			keys = append(keys, b)
		case 4:
			c.put("MULTI")
			c.put("SET", t.key(a), text)
			c.put("SET", t.key(b), text)
			l.must(c, "EXEC") // reads MULTI's reply
			for i := 0; i < 3; i++ {
				c.read()
			}
			keys = append(keys, b)
		case 5:
			l.must(c, "EVAL", "redis.call('SET',ARGV[1],ARGV[2]) return redis.call('SET',KEYS[1],ARGV[2])",
				"1", t.key(a), t.key(b), text)
			keys = append(keys, b)
		case 6:
			l.must(c, "SET", t.key(a), text)
			l.must(c, "RENAME", t.key(a), t.key(b))
			keys = append(keys, b)
		default:
			l.must(c, "SET", t.key(a), text)
		}
		for _, key := range keys {
			atomic.StoreInt64(&t.known[key], n)
		}
		if dice.Intn(4) == 0 {
			pause(dice, time.Millisecond)
		}
	}
}

// ---- readers

type reader struct {
	*conn
	*caching
	number      int
	pick        func(int) int
	isOptIn     bool
	cache       map[string]int64
	hits, reads int64
}

func (t *caching) reader(number int) *reader {
	r := &reader{conn: t.lab.connect(), caching: t, number: number, pick: t.lab.dice(100 + number).Intn,
		cache: map[string]int64{}}
	t.lab.must(r.conn, "HELLO", "3")
	switch number % 3 {
	case 0:
		t.lab.must(r.conn, "CLIENT", "TRACKING", "ON")
	case 1:
		t.lab.must(r.conn, "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", fmt.Sprintf("tr%d:", t.lab.seed))
	default:
		t.lab.must(r.conn, "CLIENT", "TRACKING", "ON", "OPTIN")
		r.isOptIn = true
	}
	return r
}

// turn notes what is known, reads some keys (or none), and looks at the cache; false ends the reader.
func (r *reader) turn() bool {
	var known [trackedKeys]int64
	for key := range known {
		known[key] = atomic.LoadInt64(&r.known[key])
	}
	var asked []string
	for n := r.pick(4); n > 0; n-- {
		key := r.key(r.pick(trackedKeys))
		if _, ok := r.cache[key]; ok {
			r.hits++
			continue
		}
		if r.isOptIn {
			r.put("CLIENT", "CACHING", "YES")
			asked = append(asked, "")
		}
		r.put("GET", key)
		asked = append(asked, key)
		r.reads++
	}
	r.put("PING")
	err := r.flush()
	for _, key := range append(asked, "") {
		var got reply
		if err == nil {
			got, err = r.next()
		}
		if err != nil || got.kind == '-' {
			r.lab.violation("reader %d: %s %v", r.number, got.text, err)
			return false
		}
		if key != "" && !got.isNil {
			r.cache[key] = got.number()
		}
	}
	for key := range known {
		if number, ok := r.cache[r.key(key)]; ok && number < known[key] {
			r.lab.violation("reader %d has %d cached for %s after %v; %d was confirmed before, and nobody told",
				r.number, number, r.key(key), time.Since(r.lab.began), known[key])
			return false
		}
	}
	return true
}

// next returns the next reply; invalidations before it are obeyed.
func (r *reader) next() (reply, error) {
	for {
		got, err := r.read()
		if err != nil || got.kind != '>' {
			return got, err
		}
		if len(got.items) != 2 || got.items[0].text != "invalidate" {
			return got, fmt.Errorf("a push of another kind: %s", got)
		}
		for _, key := range got.items[1].items {
			if r.lab.sabotage != "lost" || r.pick(100) != 0 {
				delete(r.cache, key.text)
			}
		}
		if got.items[1].isNil {
			r.cache = map[string]int64{}
		}
	}
}
