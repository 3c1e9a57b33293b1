// SPDX-License-Identifier: BSD-3-Clause
//
// Queues under torment. Producers push elements that exist once, by plain commands, transactions
// and scripts; consumers take them by every blocking command there is, with timeouts of a few
// milliseconds; meanwhile clients are unblocked, and in every second phase killed, or close their
// own connection while they wait. A phase ends when its producers have stopped and its consumers
// have emptied everything. Then:
//
//	lists, sorted sets   nobody has got an element twice, or one that was never pushed; each confirmed one was
//	                     got, but for as many as killed consumers may have had on the wire
//	chain a b c done     BLMOVE and BRPOPLPUSH only: everything is in `done`, once, in its producer's order
//	stream               every entry was read once by one of the group, or is pending; XREAD saw them all in order
//
// Before that, waiters on one list are served in the order in which they came.

package main

import (
	"fmt"
	"math/rand"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	producers  = 4
	consumers  = 12
	phaseTime  = 700 * time.Millisecond
	drainLimit = 15 * time.Second
)

// phase is one run over keys of its own.
type phase struct {
	lab        *lab
	prefix     string
	isDeadly   bool
	end        time.Time
	stop       int32           // atomic: everything is consumed, or never will be
	backlog    int64           // atomic, about
	maxBacklog int64           // producers wait above it: with a small one, consumers wait more
	mayHave    [2]int64        // atomic: what killed consumers of lists and of sorted sets may have had
	lost       int64           // elements that nobody has
	ids        sync.Map        // connection ids of consumers, for those who torment
	mutex      sync.Mutex      // guards what follows
	offered    map[string]bool // every element, and whether its push was confirmed
	got        map[string]int  // by consumers
	seen       []string        // the stream, as the one who reads it by XREAD saw it; his own until he ends
	entries    map[string]int  // stream entries, by element
}

func queues(l *lab) {
	fairness(l)
	phases := 0
	var elements, lost, mayHave int64
	for n := 0; n == 0 || !l.isOver(); n++ {
		p := &phase{lab: l, prefix: fmt.Sprintf("q%d:%d:", l.seed, n), isDeadly: n%2 == 1,
			offered: map[string]bool{}, got: map[string]int{}, entries: map[string]int{}}
		p.maxBacklog = []int64{8, 40, 300}[n%3]
		p.end = time.Now().Add(phaseTime)
		p.run()
		phases++
		elements += int64(len(p.offered))
		lost += p.lost
		mayHave += p.mayHave[0] + p.mayHave[1]
	}
	l.note("%d phases, %d elements; of %d that killed consumers may have had, %d did not come back",
		phases, elements, mayHave, lost)
}

func (p *phase) key(name string) string {
	return p.prefix + name
}

func (p *phase) lists() []string { return []string{"q0", "q1", "q2", "q3", "q4"} }
func (p *phase) zsets() []string { return []string{"z0", "z1", "z2"} }

func (p *phase) run() {
	control := p.lab.connect()
	defer control.close()
	p.lab.must(control, "FLUSHALL") // the phase before
	p.lab.must(control, "XGROUP", "CREATE", p.key("x"), "g", "0", "MKSTREAM")
	var working sync.WaitGroup
	working.Add(consumers)
	go together(consumers, func(i int) {
		defer working.Done()
		p.consume(i)
	})
	together(producers+1, func(i int) {
		if i < producers {
			p.produce(i)
		} else {
			p.torment()
		}
	})
	p.drain(control)
	atomic.StoreInt32(&p.stop, 1)
	working.Wait()
	p.judge(control)
}

// ---- producers

type producer struct {
	*conn
	*phase
	dice   *rand.Rand
	number int
	count  int
	asked  int // commands put and not yet answered
}

func (p *phase) produce(number int) {
	w := &producer{conn: p.lab.connect(), phase: p, dice: p.lab.dice(1000 + number), number: number}
	defer func() { w.close() }()
	for time.Now().Before(p.end) && !p.lab.isBroken() {
		elements := w.push()
		p.set(elements, false)
		if p.isDeadly && w.dice.Intn(200) == 0 {
			w.flush()
			w.reset()
			w.conn, w.asked = p.lab.connect(), 0
			w.number += 100 // what it left behind unread may come after what it sends now
		} else {
			w.confirm(len(elements) == 1)
			p.set(elements, true)
		}
		for atomic.LoadInt64(&p.backlog) > p.maxBacklog && time.Now().Before(p.end) {
			time.Sleep(100 * time.Microsecond)
		}
	}
}

func (p *phase) set(elements []string, isConfirmed bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, e := range elements {
		p.offered[e] = isConfirmed
	}
	if isConfirmed {
		atomic.AddInt64(&p.backlog, int64(len(elements)))
		p.lab.count(len(elements))
	}
}

func (w *producer) put(words ...string) {
	w.conn.put(words...)
	w.asked++
}

// confirm sends what was put and waits for the replies.
func (w *producer) confirm(mayLose bool) {
	if w.lab.sabotage == "lost" && mayLose && w.dice.Intn(20) == 0 {
		w.out, w.asked = w.out[:0], 0
	}
	err := w.flush()
	for ; w.asked > 0 && err == nil; w.asked-- {
		var r reply
		if r, err = w.read(); err == nil && r.kind == '-' {
			err = fmt.Errorf("%s", r.text)
		}
	}
	if err != nil {
		w.lab.violation("a push failed: %v", err)
		w.lab.finish()
	}
}

// fresh returns a new element of the kind L(ist), Z(set), C(hain) or S(tream).
func (w *producer) fresh(kind string) string {
	w.count++
	return fmt.Sprintf("%s%d:%d", kind, w.number, w.count)
}

func (w *producer) list() string { return w.key(w.lists()[w.dice.Intn(5)]) }
func (w *producer) zset() string { return w.key(w.zsets()[w.dice.Intn(3)]) }

// push puts what brings some new elements, and returns them.
func (w *producer) push() []string {
	l1, l2, c, z, s := w.fresh("L"), w.fresh("L"), w.fresh("C"), w.fresh("Z"), w.fresh("S")
	score := strconv.Itoa(w.dice.Intn(1000))
	side := []string{"LPUSH", "RPUSH"}[w.dice.Intn(2)]
	script := "redis.call('" + side + "',%[1]s,ARGV[1]) redis.call('LPUSH',%[2]s,ARGV[2])" +
		" redis.call('ZADD',%[3]s,ARGV[3],ARGV[4]) return 1"
	way := w.dice.Intn(8)
	if (way == 3 || way == 6) && !w.lab.has("transactions") || (way == 4 || way == 5) && !w.lab.has("scripts") {
		way = 2
	}
	switch way {
	case 0:
		w.put(side, w.list(), l1)
		return []string{l1}
	case 1:
		w.put(side, w.list(), l1, l2)
		return []string{l1, l2}
	case 2: // a pipeline
		w.put(side, w.list(), l1)
		w.put("LPUSH", w.key("a"), c)
		w.put("ZADD", w.zset(), score, z)
		w.put("XADD", w.key("x"), "*", "e", s)
		return []string{l1, c, z, s}
	case 3:
		w.put("MULTI")
		w.put(side, w.list(), l1)
		w.put("LPUSH", w.key("a"), c)
		w.put("ZADD", w.zset(), score, z)
		w.put(side, w.list(), l2)
		w.put("EXEC")
		return []string{l1, c, z, l2}
	case 4:
		w.put("EVAL", fmt.Sprintf(script, "KEYS[1]", "KEYS[2]", "KEYS[3]"), "3", w.list(), w.key("a"),
			w.zset(), l1, c, score, z)
		return []string{l1, c, z}
	case 5:
		w.put("EVAL", fmt.Sprintf(script, "ARGV[5]", "ARGV[6]", "ARGV[7]"), "0", l1, c, score, z,
			w.list(), w.key("a"), w.zset())
		return []string{l1, c, z}
	case 6:
		w.put("MULTI")
		w.put("XADD", w.key("x"), "*", "e", s)
		w.put("LPUSH", w.key("a"), c)
		w.put("EXEC")
		return []string{s, c}
	}
	w.put("ZADD", w.zset(), score, z)
	return []string{z}
}

// ---- consumers

type consumer struct {
	*conn
	*phase
	dice *rand.Rand
	name string
	last string // XREAD's: the entry it has read last
}

// order is one blocking command: what it takes, and how many a killed one may have had on the wire.
type order struct {
	words    []string
	pool     int // 0 lists, 1 sorted sets, -1 nothing can be lost
	capacity int
}

func (p *phase) consume(number int) {
	c := &consumer{phase: p, dice: p.lab.dice(2000 + number), name: strconv.Itoa(number), last: "0"}
	c.open()
	for atomic.LoadInt32(&p.stop) == 0 && !p.lab.isBroken() {
		o := c.order(number)
		isLeaving := p.isDeadly && time.Now().Before(p.end) && c.dice.Intn(60) == 0
		isPiped := !isLeaving && c.dice.Intn(6) == 0
		if isPiped {
			c.put("ECHO", "before")
		}
		c.put(o.words...)
		if isPiped {
			c.put("ECHO", "after")
		}
		err := c.flush()
		if isLeaving {
			pause(c.dice, 4*time.Millisecond)
			if c.dice.Intn(2) == 0 {
				c.reset()
			} else {
				c.close()
			}
			err = errCut
		}
		if err == nil {
			err = c.take(o, isPiped)
		}
		if err != nil {
			c.lose(o, err, isLeaving)
		}
	}
	c.close()
}

func (c *consumer) open() {
	c.conn = c.lab.connectNamed()
	c.ids.Store(c.id, true)
}

// lose: the connection is gone, and with it perhaps what the command had taken.
func (c *consumer) lose(o order, err error, isLeaving bool) {
	if err == errStuck || (!c.isDeadly && !isLeaving) {
		c.lab.violation("%s: %v", strings.Join(o.words, " "), err)
	}
	if o.pool >= 0 {
		atomic.AddInt64(&c.mayHave[o.pool], int64(o.capacity))
	}
	c.ids.Delete(c.id)
	c.close()
	c.open()
}

func (c *consumer) some(names []string) []string {
	var keys []string
	for _, i := range c.dice.Perm(len(names))[:1+c.dice.Intn(len(names))] {
		keys = append(keys, c.key(names[i]))
	}
	return keys
}

// order: some consumers only move along the chain or read the stream, the others take.
func (c *consumer) order(number int) order {
	timeout := "0.0" + strconv.Itoa(10+c.dice.Intn(10))
	if c.dice.Intn(2) == 0 {
		timeout = "0.00" + strconv.Itoa(1+c.dice.Intn(9))
	}
	if number%3 == 0 {
		return c.move(timeout)
	}
	if number == 10 {
		return order{[]string{"XREAD", "COUNT", "5", "BLOCK", strconv.Itoa(1 + c.dice.Intn(20)), "STREAMS",
			c.key("x"), c.last}, -1, 0}
	}
	if number%6 == 1 {
		return order{[]string{"XREADGROUP", "GROUP", "g", c.name, "COUNT", "3", "BLOCK",
			strconv.Itoa(1 + c.dice.Intn(20)), "STREAMS", c.key("x"), ">"}, -1, 0}
	}
	words := func(name string, keys []string) []string {
		return append(append([]string{name}, keys...), timeout)
	}
	side := []string{"LEFT", "RIGHT"}[c.dice.Intn(2)]
	switch keys := c.some(c.lists()); c.dice.Intn(6) {
	case 0, 1:
		return order{words("BRPOP", keys), 0, 1}
	case 2:
		return order{words("BLPOP", keys), 0, 1}
	case 3:
		return order{append(append([]string{"BLMPOP", timeout, strconv.Itoa(len(keys))}, keys...), side,
			"COUNT", "3"), 0, 3}
	case 4:
		keys = c.some(c.zsets())
		return order{append(append([]string{"BZMPOP", timeout, strconv.Itoa(len(keys))}, keys...),
			"MIN", "COUNT", "2"), 1, 2}
	}
	return order{words([]string{"BZPOPMIN", "BZPOPMAX"}[c.dice.Intn(2)], c.some(c.zsets())), 1, 1}
}

func (c *consumer) move(timeout string) order {
	step := c.dice.Intn(3)
	from, to := c.key([]string{"a", "b", "c"}[step]), c.key([]string{"b", "c", "done"}[step])
	switch {
	case c.lab.sabotage == "moved" && c.dice.Intn(10) == 0: // in two steps, with a pause in between
		r, err := c.do("RPOP", from)
		if err == nil && !r.isNil {
			time.Sleep(time.Millisecond)
			return order{[]string{"LPUSH", to, r.text}, -1, 0}
		}
	case c.dice.Intn(3) == 0:
		return order{[]string{"BRPOPLPUSH", from, to, timeout}, -1, 0}
	}
	return order{[]string{"BLMOVE", from, to, "RIGHT", "LEFT", timeout}, -1, 0}
}

// take reads the reply and writes down what came.
func (c *consumer) take(o order, isPiped bool) error {
	if isPiped {
		if err := c.expect("before"); err != nil {
			return err
		}
	}
	r, err := c.read()
	if err == nil && isPiped {
		defer c.expect("after") // what was taken is taken, even if this never comes
	}
	if err != nil || r.isNil || r.String() == "-UNBLOCKED" {
		return err
	}
	if r.kind == '-' {
		c.lab.violation("%s: %s", strings.Join(o.words, " "), r.text)
		return nil
	}
	var elements []string
	switch o.words[0] {
	case "BLPOP", "BRPOP", "BZPOPMIN", "BZPOPMAX":
		elements = []string{r.items[1].text}
	case "BLMPOP":
		for _, item := range r.items[1].items {
			elements = append(elements, item.text)
		}
	case "BZMPOP":
		for _, item := range r.items[1].items {
			elements = append(elements, item.items[0].text)
		}
	case "XREAD":
		for _, entry := range r.items[0].items[1].items {
			c.last = entry.items[0].text
			c.seen = append(c.seen, c.last)
		}
		return nil
	case "XREADGROUP":
		return c.readEntries(r, !isPiped)
	default:
		if !isPiped && c.sabotageWith("doubled") {
			c.do("LPUSH", c.key("b"), r.text)
		}
		if o.words[2] == c.key("done") {
			atomic.AddInt64(&c.backlog, -1)
		}
		return nil
	}
	if c.sabotageWith("doubled") {
		elements = append(elements, elements[0])
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for _, e := range elements {
		c.got[e]++
	}
	atomic.AddInt64(&c.backlog, -int64(len(elements)))
	return nil
}

func (c *consumer) sabotageWith(what string) bool {
	return c.lab.sabotage == what && c.dice.Intn(100) == 0
}

func (c *consumer) expect(text string) error {
	r, err := c.read()
	if err == nil && r.text != text {
		c.lab.violation("ECHO %s answered %s %s", text, r, r.text)
	}
	return err
}

// readEntries acknowledges half of what it read, if no other reply is on its way.
func (c *consumer) readEntries(r reply, mayAck bool) error {
	var err error
	for _, entry := range r.items[0].items[1].items {
		c.mutex.Lock()
		c.entries[entry.items[1].items[1].text]++
		c.mutex.Unlock()
		atomic.AddInt64(&c.backlog, -1)
		if mayAck && c.dice.Intn(2) == 0 && err == nil {
			_, err = c.do("XACK", c.key("x"), "g", entry.items[0].text)
		}
	}
	return err
}

// torment unblocks and, if the phase is deadly, kills consumers until the phase ends.
func (p *phase) torment() {
	dice := p.lab.dice(3000)
	control := p.lab.connect()
	defer control.close()
	for time.Now().Before(p.end) && !p.lab.isBroken() {
		var ids []string
		p.ids.Range(func(id, _ interface{}) bool {
			ids = append(ids, id.(string))
			return true
		})
		if len(ids) == 0 {
			continue // they are all still connecting
		}
		id := ids[dice.Intn(len(ids))]
		if p.isDeadly && dice.Intn(10) == 0 {
			p.lab.must(control, "CLIENT", "KILL", "ID", id)
		} else if dice.Intn(100) == 0 {
			p.lab.pauseAll(control, dice)
		} else {
			p.lab.must(control, "CLIENT", "UNBLOCK", id, []string{"TIMEOUT", "ERROR"}[dice.Intn(2)])
		}
		time.Sleep(time.Duration(dice.Int63n(int64(2 * time.Millisecond))))
	}
}

// ---- the end of a phase

// drain waits until the consumers have emptied everything.
func (p *phase) drain(control *conn) {
	limit := time.Now().Add(drainLimit)
	for !p.lab.isBroken() {
		left := ""
		for _, name := range append(p.lists(), "a", "b", "c") {
			if n := p.lab.must(control, "LLEN", p.key(name)).number(); n != 0 {
				left += fmt.Sprintf(" %s:%d", name, n)
			}
		}
		for _, name := range p.zsets() {
			if n := p.lab.must(control, "ZCARD", p.key(name)).number(); n != 0 {
				left += fmt.Sprintf(" %s:%d", name, n)
			}
		}
		if left == "" {
			break
		}
		if time.Now().After(limit) {
			p.lab.violation("consumers wait and these are not empty:%s", left)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// judge compares what was pushed with what was got. The consumers have ended.
func (p *phase) judge(control *conn) {
	done := map[string]int{}
	last := map[string]int{} // of each producer: FIFO from a to done
	all := p.lab.must(control, "LRANGE", p.key("done"), "0", "-1").items
	for i := len(all) - 1; i >= 0; i-- {
		e := all[i].text
		done[e]++
		at := strings.Index(e, ":")
		number, _ := strconv.Atoi(e[at+1:])
		if number <= last[e[:at]] {
			p.lab.violation("the chain's end has %s after %s:%d", e, e[:at], last[e[:at]])
		}
		last[e[:at]] = number
	}
	unread := p.unread(control)
	missing := [2][]string{}
	for e, isConfirmed := range p.offered {
		count, where := p.got[e], "by consumers"
		switch e[0] {
		case 'C':
			count, where = done[e], "at the chain's end"
		case 'S':
			count, where = p.entries[e], "by the group"
			if count == 0 && unread[e] {
				count = 1
			}
		}
		if count > 1 {
			p.lab.violation("%s was seen %d times %s", e, count, where)
		}
		if count == 0 && isConfirmed {
			if e[0] == 'L' || e[0] == 'Z' {
				missing[strings.IndexByte("LZ", e[0])] = append(missing[strings.IndexByte("LZ", e[0])], e)
			} else {
				p.lab.violation("%s is lost: pushed, and not seen %s", e, where)
			}
		}
	}
	for pool, lost := range missing {
		if int64(len(lost)) > p.mayHave[pool] {
			p.lab.violation("%d are lost, killed consumers had at most %d: %.300v", len(lost),
				p.mayHave[pool], lost)
		}
	}
	for _, seen := range []map[string]int{p.got, done, p.entries} {
		for e := range seen {
			if _, ok := p.offered[e]; !ok {
				p.lab.violation("%s was never pushed", e)
			}
		}
	}
	p.lost = int64(len(missing[0]) + len(missing[1]))
}

// unread returns the stream's entries that are pending, or not delivered yet.
func (p *phase) unread(control *conn) map[string]bool {
	names := map[string]string{}
	unread := map[string]bool{}
	for i, entry := range p.lab.must(control, "XRANGE", p.key("x"), "-", "+").items {
		if i < len(p.seen) && p.seen[i] != entry.items[0].text {
			p.lab.violation("XREAD's entry %d was %s, it is %s", i, p.seen[i], entry.items[0].text)
		}
		names[entry.items[0].text] = entry.items[1].items[1].text
	}
	for _, entry := range p.lab.must(control, "XPENDING", p.key("x"), "g", "-", "+", "1000000").items {
		unread[names[entry.items[0].text]] = true
	}
	rest := p.lab.must(control, "XREADGROUP", "GROUP", "g", "rest", "STREAMS", p.key("x"), ">")
	for _, stream := range rest.items {
		for _, entry := range stream.items[1].items {
			e := entry.items[1].items[1].text
			if unread[e] || p.entries[e] != 0 {
				p.lab.violation("%s came to a consumer again", e)
			}
			unread[e] = true
		}
	}
	return unread
}

// ---- fairness

// fairness: clients that block one after the other on one list, and on others of their own, are
// served in that order.
func fairness(l *lab) {
	const waiters = 8
	control := l.connect()
	defer control.close()
	key := fmt.Sprintf("fair:%d", l.seed)
	conns := make([]*conn, waiters)
	for i := range conns {
		conns[i] = l.connect()
		defer conns[i].close()
		conns[i].put("BLPOP", fmt.Sprintf("%s:%d", key, i), key, "0")
		conns[i].flush()
		l.awaitBlocked(control, i+1)
	}
	for i := range conns {
		l.must(control, "RPUSH", key, strconv.Itoa(i))
	}
	for i := range conns {
		r, err := conns[i].read()
		if want := fmt.Sprintf("[$%s $%d]", key, i); err != nil || r.String() != want {
			l.violation("waiter %d got %s, not %s: %v", i, r, want, err)
		}
	}
}

// awaitBlocked waits until so many clients are blocked, as INFO says.
func (l *lab) awaitBlocked(control *conn, count int) {
	for limit := time.Now().Add(readLimit); ; time.Sleep(time.Millisecond) {
		text := l.must(control, "INFO", "clients").text
		if strings.Contains(text, fmt.Sprintf("blocked_clients:%d\r\n", count)) {
			return
		}
		if time.Now().After(limit) {
			l.violation("never %d blocked clients: %s", count, text)
			l.finish()
		}
	}
}
