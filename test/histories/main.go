// SPDX-License-Identifier: BSD-3-Clause
//
// gyre-histories-test: many clients at once, everything they saw written down, and what they saw
// checked.
//
//	gyre-histories-test TEST HOST PORT [seconds] [seed] [sabotage]
//
//	random     short rounds of random transactions (WATCH too), scripts, blocking commands, RENAMEs and
//	           multi-key commands on a few keys, some of which expire; each round's history must be
//	           linearizable (porcupine) against a model of all the keys: model.go, random.go
//	registers  the same with many keys and long pipelines; each key's history must be linearizable
//	bank       money moves between accounts in every way there is; every reader sees the same total
//	queues     producers and consumers, clients killed at random; nothing is lost, nothing comes twice
//	pubsub     one order of messages for all, none lost, none late, counts right, data before news
//	tracking   what a client has cached is never older than what it could know
//	celery     SUBSCRIBE not awaited, LPUSH elsewhere, a worker answers: nobody waits for ever
//
// The last line is `TEST: N operations, N violations`; the status is 0 only without violations. What a
// client does follows from the seed; when it does it, from chance. A history that breaks a rule is
// printed, cut to the shortest that still does.
//
// Sabotage makes this program lie to itself, to show that a server which did the like would be
// caught: "torn" sends transactions as single commands, "lost" does not send some writes, "doubled"
// counts some messages twice; the tests list theirs (sabotages). GYRE_TEST_PATIENCE multiplies time
// limits; what GYRE_HISTORIES_WITHOUT names (scripts functions transactions blocking expiry pauses) is
// left out, to narrow a search.

package main

import (
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const maxReports = 3

// readLimit is longer than any honest server needs for a reply under this load.
var readLimit = 20 * time.Second

// has tells whether GYRE_HISTORIES_WITHOUT leaves this in.
func (l *lab) has(what string) bool {
	return !strings.Contains(l.without, what)
}

// lab is what a test works with.
type lab struct {
	address    string
	seed       int64
	deadline   time.Time
	began      time.Time
	sabotage   string
	without    string
	operations int64 // atomic
	violations int64 // atomic
	mutex      sync.Mutex
	notes      []string
}

var tests = map[string]struct {
	run       func(*lab)
	sabotages string
}{
	"random":    {randomHistories, "torn lost stale reorder"},
	"registers": {registers, "lost stale reorder"},
	"bank":      {bank, "torn lost"},
	"queues":    {queues, "lost doubled moved"},
	"pubsub":    {pubsub, "lost doubled swapped late"},
	"tracking":  {tracking, "lost"},
	"celery":    {celery, "lost"},
}

func main() {
	if len(os.Args) < 4 || tests[os.Args[1]].run == nil {
		fmt.Println("usage: gyre-histories-test random|registers|bank|queues|pubsub|tracking|" +
			"celery HOST PORT [seconds] [seed] [sabotage]")
		os.Exit(2)
	}
	word := func(n int, otherwise string) string {
		if len(os.Args) > n {
			return os.Args[n]
		}
		return otherwise
	}
	seconds, _ := strconv.ParseFloat(word(4, "5"), 64)
	seed, _ := strconv.ParseInt(word(5, "1"), 10, 64)
	if patience, err := strconv.ParseFloat(os.Getenv("GYRE_TEST_PATIENCE"), 64); err == nil {
		readLimit = time.Duration(float64(readLimit) * patience)
	}
	name := os.Args[1]
	test := tests[name]
	l := &lab{address: os.Args[2] + ":" + os.Args[3], seed: seed, sabotage: word(6, ""),
		without: os.Getenv("GYRE_HISTORIES_WITHOUT"), began: time.Now()}
	l.deadline = l.began.Add(time.Duration(seconds * float64(time.Second)))
	if l.sabotage != "" && !strings.Contains(" "+test.sabotages+" ", " "+l.sabotage+" ") {
		fmt.Printf("%s knows the sabotages %s\n", name, test.sabotages)
		os.Exit(2)
	}
	fmt.Printf("seed %d\n", seed)
	control := l.connect()
	l.must(control, "FLUSHALL")
	control.close()
	test.run(l)
	for _, note := range l.notes {
		fmt.Println(note)
	}
	fmt.Printf("%s: %d operations, %d violations\n", name, l.operations, l.violations)
	if l.violations != 0 {
		os.Exit(1)
	}
}

func (l *lab) violation(format string, args ...interface{}) {
	if atomic.AddInt64(&l.violations, 1) > maxReports {
		return
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	fmt.Printf("violation: "+format+"\n", args...)
}

// note prints a figure at the end.
func (l *lab) note(format string, args ...interface{}) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.notes = append(l.notes, fmt.Sprintf(format, args...))
}

func (l *lab) count(n int) {
	atomic.AddInt64(&l.operations, int64(n))
}

func (l *lab) isOver() bool {
	return time.Now().After(l.deadline) || l.isBroken()
}

// isBroken: enough is known.
func (l *lab) isBroken() bool {
	return atomic.LoadInt64(&l.violations) >= maxReports
}

// now is the time of a history, in nanoseconds.
func (l *lab) now() int64 {
	return int64(time.Since(l.began))
}

// dice returns a generator of its own for each user.
func (l *lab) dice(who int) *rand.Rand {
	return rand.New(rand.NewSource(l.seed*1000003 + int64(who)))
}

// connect never fails quietly: without a server there is no test.
func (l *lab) connect() *conn {
	for tries := 0; ; tries++ {
		c, err := dial(l.address)
		if err == nil {
			return c
		}
		if tries == 50 {
			l.violation("cannot connect: %v", err)
			l.finish()
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// connectNamed asks for the connection's id too.
func (l *lab) connectNamed() *conn {
	c := l.connect()
	c.id = l.must(c, "CLIENT", "ID").text
	return c
}

// must is do where neither the connection nor the command may fail.
func (l *lab) must(c *conn, words ...string) reply {
	r, err := c.do(words...)
	if err != nil || r.kind == '-' {
		l.violation("%s: %v %v", strings.Join(words, " "), r.text, err)
		l.finish()
	}
	return r
}

// pauseAll lets nobody write, or, rarely, do anything, for a moment. Until it returns nobody may
// CLIENT UNBLOCK: Redis 7.0 does not survive that if its target is one of those who wait for the
// end of the pause.
func (l *lab) pauseAll(control *conn, dice *rand.Rand) {
	if !l.has("pauses") {
		return
	}
	if dice.Intn(10) == 0 { // then UNPAUSE waits like all others, and Redis looks ten times a second
		l.must(control, "CLIENT", "PAUSE", "1", "ALL")
		l.must(control, "PING")
		return
	}
	l.must(control, "CLIENT", "PAUSE", "1000", "WRITE")
	time.Sleep(time.Duration(dice.Int63n(int64(2 * time.Millisecond))))
	l.must(control, "CLIENT", "UNPAUSE")
	l.must(control, "PING") // Redis goes on with the others at the next event
}

// finish ends the program at once: the server is gone, or says nothing sensible.
func (l *lab) finish() {
	l.mutex.Lock()
	fmt.Printf("%s: %d operations, %d violations\n", os.Args[1], atomic.LoadInt64(&l.operations),
		atomic.LoadInt64(&l.violations))
	os.Exit(1)
}

// together runs n functions at once and waits for all.
func together(n int, run func(i int)) {
	var group sync.WaitGroup
	group.Add(n)
	for i := 0; i < n; i++ {
		go func(i int) {
			defer group.Done()
			run(i)
		}(i)
	}
	group.Wait()
}
