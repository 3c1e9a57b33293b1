// SPDX-License-Identifier: BSD-3-Clause
//
// One round: start, check, load, kill, and a look at the files.

package main

import (
	"fmt"
	"io/ioutil"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// play is one round; the last one checks once more what is left.
func (w *world) play(isLast bool) {
	s, c := w.restart()
	if s == nil {
		return
	}
	w.check(c)
	if w.isBroken() {
		s.kill()
		return
	}
	w.load(s, c)
	w.examine()
	if !isLast || w.isBroken() {
		return
	}
	if s, c = w.restart(); s != nil {
		w.check(c)
		s.kill()
	}
}

// ---- starting

// restart starts a server on the data, sometimes after one that was killed before it was ready.
func (w *world) restart() (*server, *conn) {
	before := filepath.Join(w.folder, "data-before")
	os.RemoveAll(before)
	if err := copyDirectory(w.dir(), before); err != nil {
		w.violation("%v", err)
		return nil, nil
	}
	if w.has("early stops") && w.dice.Intn(6) == 0 {
		s, err := startServer(w.drawServer())
		if err != nil {
			w.violation("%v", err)
			return nil, nil
		}
		time.Sleep(time.Duration(w.dice.Int63n(int64(60 * time.Millisecond))))
		if s.isGone() {
			w.violation("the server did not start:\n%s", s.logEnd(30))
			return nil, nil
		}
		s.kill()
	}
	o := w.drawServer()
	w.about = fmt.Sprintf("threads %d, %s, %s", o.threads, o.io, o.policy)
	s, err := startServer(o)
	if err != nil {
		w.violation("%v", err)
		return nil, nil
	}
	c, err := s.ready()
	if err != nil {
		w.violation("%v\n%s", err, s.logEnd(30))
		s.kill()
		return nil, nil
	}
	return s, c
}

// ---- checking

// check compares what the server has with what every client knows; a new world begins here too.
func (w *world) check(c *conn) {
	if w.round == 0 && len(w.shared.stamps) == 0 && !w.isFounded {
		w.found(c)
		return
	}
	if atomic.LoadInt32(&w.isUnlogged) != 0 { // nobody promised anything
		if _, err := ask(c, "FLUSHALL"); err != nil {
			w.violation("%v", err)
			return
		}
		w.newUsers()
		w.found(c)
		return
	}
	l, err := readAll(c, w.knowsFieldTTL)
	if err != nil {
		w.violation("%v", err)
		return
	}
	var lost []*unit
	var fates []certainty
	for _, user := range w.users {
		lost = append(lost, user.pending...)
		fates = append(fates, user.reconcile(l, w.crashed)...)
	}
	w.shared.check(w, l, lost, fates)
	if !w.isBroken() {
		if err := w.shared.shorten(c, l); err != nil {
			w.violation("%v", err)
		}
	}
}

// found makes a new data set.
func (w *world) found(c *conn) {
	r, err := ask(c, "COMMAND", "INFO", "HPEXPIRETIME")
	if err == nil {
		w.knowsFieldTTL = len(r.items) != 0 && !r.items[0].isNil
		err = w.shared.prepare(c)
	}
	if err != nil {
		w.violation("%v", err)
	}
	w.isFounded = true
}

// checkSnapshot starts a server on the last snapshot alone: it must be one moment.
func (w *world) checkSnapshot(name string) {
	dir := filepath.Join(w.folder, "snapshot", "data")
	os.RemoveAll(filepath.Dir(dir))
	data, err := ioutil.ReadFile(name)
	if err == nil {
		err = os.MkdirAll(dir, 0755)
	}
	if err == nil {
		err = ioutil.WriteFile(filepath.Join(dir, "dump.rdb"), data, 0644)
	}
	if err != nil {
		w.violation("%v", err)
		return
	}
	o := w.drawServer()
	o.dir, o.isAppendOnly = dir, false
	s, err := startServer(o)
	if err != nil {
		w.violation("%v", err)
		return
	}
	defer s.kill()
	c, err := s.ready()
	if err != nil {
		w.violation("from a snapshot: %v\n%s", err, s.logEnd(30))
		return
	}
	l, err := readAll(c, w.knowsFieldTTL)
	if err != nil {
		w.violation("%v", err)
		return
	}
	about := w.about
	w.about = "the snapshot that was made with " + about
	l.checkTotal(w)
	l.oneStamp(w)
	l.checkWanderers(w)
	w.about = about
}

// ---- loading

// load lets everybody work until the server is killed.
func (w *world) load(s *server, control *conn) {
	atomic.StoreInt32(&w.killed, 0)
	atomic.StoreInt32(&w.ending, 0)
	snapshot := filepath.Join(w.dir(), "dump.rdb")
	before, operations := modified(snapshot), w.operations
	var working sync.WaitGroup
	work := func(run func(c *conn)) {
		c, err := dial(s.address)
		if err != nil {
			w.violation("%v", err)
			return
		}
		working.Add(1)
		go func() {
			defer working.Done()
			defer c.close()
			run(c)
		}()
	}
	for _, user := range w.users {
		user := user
		work(func(c *conn) {
			user.conn = c
			if _, err := ask(c, "SELECT", strconv.Itoa(user.database)); err == nil {
				user.run()
			}
		})
	}
	for i := 0; i < consumers && w.has("queues"); i++ {
		dice := rand.New(rand.NewSource(w.dice.Int63()))
		work(func(c *conn) { w.consume(c, dice) })
	}
	dice := rand.New(rand.NewSource(w.dice.Int63()))
	work(func(c *conn) { w.administer(c, dice) })

	span := w.shortest + time.Duration(w.dice.Int63n(int64(w.longest-w.shortest)+1))
	select {
	case <-time.After(span):
	case <-s.ended:
		w.violation("the server ended by itself: %s\n%s", s.process.ProcessState, s.logEnd(60))
	}
	w.end(s)
	w.crashed = unixMS()
	working.Wait()
	if w.isVerbose {
		fmt.Printf("round %d (%s): %d operations before the end, after %v\n", w.round, w.about,
			atomic.LoadInt64(&w.operations)-operations, span)
	}
	control.close()
	isNew := modified(snapshot) != before
	if w.has("snapshots") && isNew && !w.isBroken() && w.dice.Intn(3) == 0 {
		w.checkSnapshot(snapshot)
	}
}

// end kills the server, or, one time in eight, asks it to go.
func (w *world) end(s *server) {
	// Redis does not stop while it writes its first log.
	mayStop := !w.toggles || !isRedis(w.program)
	if w.dice.Intn(8) == 0 && mayStop {
		atomic.StoreInt32(&w.ending, 1)
		if err := s.stop(); err != nil {
			w.violation("%v\n%s", err, s.logEnd(30))
		}
	}
	atomic.StoreInt32(&w.killed, 1)
	s.kill()
	if report := s.sanitizerReport(); report != "" {
		w.violation("a sanitizer's report in the server's log:\n%s", report)
	}
}

func modified(name string) time.Time {
	info, err := os.Stat(name)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// administer starts rewrites and snapshots at random, and looks whether those that ended went well.
func (w *world) administer(c *conn, dice *rand.Rand) {
	for !w.isKilled() {
		time.Sleep(time.Duration(dice.Int63n(int64(200 * time.Millisecond))))
		var err error
		switch n := dice.Intn(10); {
		case n < 3 && w.has("rewrites"):
			_, err = c.do("BGREWRITEAOF") // one may be running
		case n < 5 && w.has("snapshots"):
			_, err = c.do("BGSAVE", "SCHEDULE")
		case n == 5 && w.has("snapshots"):
			_, err = c.do("SAVE")
		case n == 6 && w.toggles:
			err = w.toggle(c)
		default:
			err = w.inspect(c)
		}
		if err != nil {
			if !w.isKilled() && !w.isEnding() {
				w.violation("administrator: %v", err)
			}
			return
		}
	}
}

func (w *world) inspect(c *conn) error {
	r, err := ask(c, "INFO", "persistence")
	if err == nil && strings.Contains(r.text, "status:err") {
		err = fmt.Errorf("INFO persistence says\n%s", r.text)
	}
	return err
}

// toggle switches the log off and on; in between nothing is promised.
func (w *world) toggle(c *conn) error {
	atomic.StoreInt32(&w.isUnlogged, 1)
	r, err := c.do("CONFIG", "SET", "appendonly", "no")
	if err == nil && r.kind == '-' { // not while it is rewritten
		atomic.StoreInt32(&w.isUnlogged, 0)
		return nil
	}
	if err == nil {
		_, err = ask(c, "CONFIG", "SET", "appendonly", "yes")
	}
	for err == nil {
		var r reply
		r, err = ask(c, "INFO", "persistence")
		if strings.Contains(r.text, "aof_rewrite_in_progress:0") &&
			strings.Contains(r.text, "aof_rewrite_scheduled:0") &&
			strings.Contains(r.text, "aof_last_bgrewrite_status:ok") {
			atomic.StoreInt32(&w.isUnlogged, 0)
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return err
}

// ---- the files

// examine lets gyre-check look at what the killed server left: nothing may be damaged.
func (w *world) examine() {
	if w.isBroken() {
		return
	}
	if w.sabotage == "cut" {
		w.cut()
		return
	}
	if w.checker == "" {
		return
	}
	out, err := exec.Command(w.checker, w.dir()).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "torn") {
		w.violation("gyre-check: %v\n%s", err, out)
	}
}

// cut takes the last bytes off one of the newest logs.
func (w *world) cut() {
	var newest string
	logs, _ := filepath.Glob(filepath.Join(w.dir(), "appendonlydir", "*[fg]"))
	for _, name := range logs {
		isLog := strings.HasSuffix(name, ".log") || strings.HasSuffix(name, "incr.aof")
		if isLog && (newest == "" || modified(name).After(modified(newest))) {
			newest = name
		}
	}
	data, err := ioutil.ReadFile(newest)
	if err != nil {
		return
	}
	end := len(strings.TrimRight(string(data), "\x00")) // space that was taken ahead
	os.Truncate(newest, int64(max(0, end-600)))
}
