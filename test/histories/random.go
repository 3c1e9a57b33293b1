// SPDX-License-Identifier: BSD-3-Clause
//
// Short rounds of random units. Each round has new keys (so what a dead connection left on its way
// harms no later round), a theme, a few connections that all begin at once, and often somebody who
// unblocks or kills them, or one that cuts its own connection. When all have ended, one more reads
// every key in one MULTI; then the round's history is checked while the next one runs.
//
// A blocking pop of several keys whose outcome is unknown is more than one step of the model could
// be, so those who may die block on one key only.

package main

import (
	"errors"
	"fmt"
	"math/rand"
	"strconv"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

var errCut = errors.New("the connection was cut on purpose")

const (
	checkLimit = 10 * time.Second // for one round; nearly all take milliseconds

	// A server's clock counts milliseconds, and may be read once for many commands.
	clockSlack   = 10 * time.Millisecond
	maxExpiries  = 1 // of each client in a round: every further one doubles what the checker may have to try
	roundClients = 7
	lanes        = 7
)

// theme says which keys there are and what is done with them.
type theme struct {
	name                   string
	strings, lists, sets   int
	watches, blocks, moves int // of 100 units
	isStrict               bool
	expires                bool // few commands; some SETs have a time to live of milliseconds
}

var themes = []theme{
	{name: "mixed", strings: 2, lists: 2, sets: 2, watches: 10, blocks: 15},
	{name: "watched strings", strings: 4, watches: 35},
	{name: "lists", lists: 4, blocks: 40, watches: 5},
	{name: "sets", sets: 4, watches: 10},
	{name: "queues", lists: 3, blocks: 40, isStrict: true},
	{name: "expiring", strings: 4, watches: 35, expires: true},
}

// author writes the units of one client.
type author struct {
	*rand.Rand
	lab      *lab
	theme    theme
	client   int
	seq      uint16
	mayDie   bool
	elements int
	expiries int // SETs with a time to live
}

func (a *author) one(names ...string) string {
	return names[a.Intn(len(names))]
}

// some returns n different keys of those from first to first + count.
func (a *author) some(n, first, count int) []int {
	keys := a.Perm(count)
	if n > count {
		n = count
	}
	for i := range keys {
		keys[i] += first
	}
	return keys[:n]
}

func (a *author) element() string {
	a.elements++
	return string(rune('a'+a.client)) + strconv.Itoa(a.elements)
}

func (a *author) command() command {
	t := a.theme
	if t.isStrict { // each fills one list with one element, so that a waiter's keys keep their order
		key := a.some(1, 0, t.lists)
		switch a.Intn(4) {
		case 0:
			return command{a.one("LPOP", "RPOP", "LLEN", "LRANGE", "DEL"), key, nil}
		default:
			return command{a.one("LPUSH", "RPUSH"), key, []string{a.element()}}
		}
	}
	if t.expires {
		return a.expiringCommand(0, t.strings)
	}
	kind := a.Intn(t.strings + t.lists + t.sets)
	switch {
	case kind == 0 && a.Intn(20) == 0 && !a.mayDie:
		return command{"FLUSHDB", nil, nil}
	case kind < t.strings:
		return a.stringCommand(0, t.strings)
	case kind < t.strings+t.lists:
		return a.listCommand(t.strings, t.lists)
	}
	return a.setCommand(t.strings+t.lists, t.sets)
}

func (a *author) stringCommand(first, count int) command {
	pick := func(n int) []int { return a.some(n, first, count) }
	switch a.Intn(12) {
	case 0, 1:
		return command{"GET", pick(1), nil}
	case 2:
		return command{a.one("SET", "GETSET", "SETNX", "APPEND"), pick(1), []string{a.element()}}
	case 3:
		return command{a.one("SET", "SETNX"), pick(1), []string{strconv.Itoa(a.Intn(100))}}
	case 4, 5:
		return command{"INCRBY", pick(1), []string{strconv.Itoa(1 + a.Intn(9))}}
	case 6:
		return command{"MGET", pick(4), nil}
	case 7:
		return command{a.one("MSET", "MSET", "MSETNX"), pick(2), []string{a.element(), a.element()}}
	case 8:
		return command{a.one("DEL", "UNLINK", "EXISTS", "TOUCH"), pick(1 + a.Intn(3)), nil}
	case 9:
		return command{"GETDEL", pick(1), nil}
	case 10:
		return command{a.one("RENAME", "RENAMENX"), pick(2), nil}
	}
	if a.Intn(2) == 0 {
		return command{"COPY", pick(2), nil}
	}
	if a.Intn(2) == 0 {
		return command{"PEXPIREAT", pick(1), []string{"1"}} // long ago: this deletes
	}
	return command{"COPY", pick(2), []string{"REPLACE"}}
}

// expiringCommand: only what leaves no doubt about a key's time to live.
func (a *author) expiringCommand(first, count int) command {
	pick := func(n int) []int { return a.some(n, first, count) }
	switch a.Intn(12) {
	case 0, 1, 2, 3:
		if a.expiries++; a.expiries <= maxExpiries {
			return command{"SETPX", pick(1), []string{a.element(), strconv.Itoa(1 + a.Intn(5))}}
		}
	case 4:
		return command{a.one("SET", "SETNX", "SETNX"), pick(1), []string{a.element()}}
	case 5:
		return command{a.one("DEL", "EXISTS"), pick(2), nil}
	case 6, 7, 8:
		return command{"GET", pick(1), nil}
	}
	return command{"MGET", pick(4), nil}
}

func (a *author) listCommand(first, count int) command {
	pick := func(n int) []int { return a.some(n, first, count) }
	switch a.Intn(10) {
	case 0, 1, 2:
		return command{a.one("LPUSH", "RPUSH"), pick(1), []string{a.element()}}
	case 3:
		return command{a.one("LPUSH", "RPUSH", "LPUSHX"), pick(1),
			[]string{a.element(), a.element()}}
	case 4:
		return command{a.one("LPOP", "RPOP", "LLEN"), pick(1), nil}
	case 5:
		return command{"LMOVE", []int{pick(1)[0], pick(1)[0]},
			[]string{a.one("LEFT", "RIGHT"), a.one("LEFT", "RIGHT")}}
	case 6:
		return command{"RPOPLPUSH", []int{pick(1)[0], pick(1)[0]}, nil}
	case 7:
		return command{"LRANGE", pick(1), nil}
	case 8:
		return command{"LMPOP", pick(2), []string{a.one("LEFT", "RIGHT"), a.one("1", "2")}}
	}
	return command{a.one("RENAME", "RENAMENX", "DEL", "COPY"), pick(2), nil}
}

func (a *author) setCommand(first, count int) command {
	pick := func(n int) []int { return a.some(n, first, count) }
	member := func() string { return "m" + strconv.Itoa(a.Intn(5)) }
	switch a.Intn(10) {
	case 0, 1:
		return command{"SADD", pick(1), []string{member(), member()}}
	case 2:
		return command{"SREM", pick(1), []string{member()}}
	case 3, 4:
		return command{"SMOVE", []int{pick(1)[0], pick(1)[0]}, []string{member()}}
	case 5:
		return command{a.one("SUNION", "SINTER"), pick(3), nil}
	case 6:
		return command{a.one("SMEMBERS", "SCARD"), pick(1), nil}
	case 7:
		return command{a.one("SUNIONSTORE", "SINTERSTORE"), pick(3), nil}
	case 8:
		return command{a.one("RENAME", "RENAMENX", "DEL"), pick(2), nil}
	}
	return command{"EXISTS", pick(2), nil}
}

// blockingCommand waits for up to 9 ms, if it is not inside a transaction.
func (a *author) blockingCommand() command {
	first, count := a.theme.strings, a.theme.lists
	keys := 1 + a.Intn(3)
	if a.mayDie {
		keys = 1
	}
	timeout := "0.00" + strconv.Itoa(1+a.Intn(9))
	switch kind := a.Intn(5); {
	case a.theme.isStrict || kind < 2:
		return command{a.one("BLPOP", "BRPOP"), a.some(keys, first, count), []string{timeout}}
	case kind < 3:
		return command{"BLMPOP", a.some(keys, first, count),
			[]string{a.one("LEFT", "RIGHT"), a.one("1", "2", "3"), timeout}}
	}
	return command{"BLMOVE", []int{a.some(1, first, count)[0], a.some(1, first, count)[0]},
		[]string{a.one("LEFT", "RIGHT"), a.one("LEFT", "RIGHT"), timeout}}
}

// manner is one of these; plain if the test does without it.
func (a *author) manner(some ...manner) manner {
	u := unit{how: some[a.Intn(len(some))]}
	switch {
	case u.how == multi && !a.lab.has("transactions"):
	case u.how == function && !a.lab.has("functions"):
	case u.isScript() && u.how != function && !a.lab.has("scripts"):
	default:
		return u.how
	}
	return plain
}

func (a *author) unit() *unit {
	a.seq++
	u := &unit{client: a.client, seq: a.seq, isStrict: a.theme.isStrict}
	keys := a.theme.strings + a.theme.lists + a.theme.sets
	dice := a.Intn(100)
	switch {
	case dice < a.theme.watches/2 && a.lab.has("transactions"):
		u.how = watch
		u.commands = []command{{"WATCH", a.some(1+a.Intn(2), 0, keys), nil}}
		return u
	case dice < a.theme.watches && a.lab.has("transactions"):
		u.how = multi
	case dice < a.theme.watches+a.theme.blocks && a.theme.blocks > 0 && a.lab.has("blocking"):
		u.how = blocking
		u.commands = []command{a.blockingCommand()}
		return u
	default:
		u.how = a.manner(plain, plain, plain, plain, plain, multi, multi, multi, declared, declared,
			undeclared, mixed, function)
		u.byHash = u.isScript() && u.how != function && a.Intn(4) == 0
		switch {
		case !a.lab.has("transactions"):
			break
		case a.Intn(60) == 0:
			u.how, u.byHash = discarded, false
		case a.Intn(60) == 0:
			u.how, u.byHash = aborted, false
		case a.Intn(60) == 0:
			u.how, u.byHash = unwatch, false
			u.commands = []command{{"UNWATCH", nil, nil}}
			return u
		}
	}
	count := 1
	if u.how != plain && !a.theme.isStrict {
		count = 2 + a.Intn(3)
	}
	for i := 0; i < count; i++ {
		u.commands = append(u.commands, a.command())
	}
	if u.how == multi && a.theme.blocks > 0 && a.lab.has("blocking") && !a.theme.isStrict && a.Intn(4) == 0 {
		u.commands = append(u.commands, a.blockingCommand()) // here it does not block
	}
	return u
}

// plan is what one client will do: batches, and where it cuts its connection (-1: nowhere).
type plan struct {
	isSlow          bool
	batches         [][]*unit
	cutBatch, heard int
}

func (a *author) plan() plan {
	p := plan{cutBatch: -1, heard: -1, isSlow: a.theme.expires}
	for i := 4 + a.Intn(4); i > 0; i-- {
		var batch []*unit
		for n := 1 + a.Intn(4); n > 0; n-- {
			batch = append(batch, a.unit())
		}
		p.batches = append(p.batches, batch)
	}
	if a.mayDie && a.Intn(2) == 0 {
		p.cutBatch = a.Intn(len(p.batches))
		p.heard = a.Intn(len(p.batches[p.cutBatch]))
	}
	return p
}

// round is one history in the making.
type round struct {
	lab    *lab
	number int
	lane   int // the number of its database too
	theme  theme
	dice   *rand.Rand
	loader *loader
	prefix string
}

// randomHistories runs rounds on several lanes at once, each in a database of its own, because
// FLUSHDB is one of the commands.
func randomHistories(l *lab) {
	v := newVerifier(l)
	var scripts sync.RWMutex // for writing: nobody runs one
	control := l.connect()
	if l.has("functions") {
		l.must(control, "FUNCTION", "LOAD", "REPLACE", library)
	}
	together(lanes, func(lane int) {
		loader := &loader{conn: l.connect()}
		conns := make([]*conn, roundClients+1) // the last one reads at the end
		for i := range conns {
			conns[i] = laneConn(l, lane)
		}
		for n := lane; !l.isOver(); n += lanes {
			r := &round{lab: l, number: n, lane: lane, theme: themes[n%len(themes)], dice: l.dice(n),
				loader: loader}
			if r.theme.expires && !l.has("expiry") {
				r.theme = themes[0]
			}
			r.prefix = fmt.Sprintf("h%d:%d:", l.seed, n)
			scripts.RLock()
			history := r.run(conns)
			scripts.RUnlock()
			v.check(fmt.Sprintf("round %d (%s)", n, r.theme.name), history)
			if n/lanes%20 == 19 {
				l.must(conns[roundClients], "FLUSHDB")
			}
			if n%(lanes*20) == 0 {
				scripts.Lock()
				l.flushScripts(control)
				scripts.Unlock()
			}
		}
	})
	v.finish()
}

func (l *lab) flushScripts(control *conn) {
	if l.has("scripts") {
		l.must(control, "SCRIPT", "FLUSH")
	}
}

func laneConn(l *lab, lane int) *conn {
	c := l.connectNamed()
	l.must(c, "SELECT", strconv.Itoa(lane))
	if c.id[len(c.id)-1]%2 == 0 {
		l.must(c, "HELLO", "3")
	}
	return c
}

func (r *round) run(conns []*conn) []porcupine.Operation {
	players := make([]*player, len(conns))
	plans := make([]plan, len(conns))
	mortals := 0
	for i := range conns {
		a := &author{lab: r.lab, Rand: r.lab.dice(r.number*100 + i), theme: r.theme, client: i}
		if i < roundClients && mortals < 2 && r.dice.Intn(8) == 0 {
			a.mayDie = true
			mortals++
		}
		plans[i] = a.plan()
		players[i] = &player{conn: conns[i], lab: r.lab, dice: a.Rand, prefix: r.prefix,
			loader: r.loader}
		if a.mayDie && plans[i].cutBatch < 0 {
			defer r.torment(conns[i].id, "KILL")()
			conns[i] = nil // whatever becomes of it, it is not used again
		} else if a.mayDie {
			conns[i] = nil
		} else if r.theme.blocks > 0 && i%3 == 0 {
			defer r.torment(conns[i].id, "UNBLOCK")()
		}
	}
	start := make(chan struct{})
	var group sync.WaitGroup
	for i := range players[:roundClients] {
		group.Add(1)
		go func(p *player, plan plan) {
			defer group.Done()
			<-start
			p.follow(plan)
		}(players[i], plans[i])
	}
	close(start)
	group.Wait()
	players[roundClients].readAll(r.theme)
	var history []porcupine.Operation
	for i, p := range players {
		history = append(history, p.history...)
		history = append(history, expiries(p.history)...)
		if conns[i] == nil || p.isDead {
			p.close()
			conns[i] = laneConn(r.lab, r.lane)
		}
	}
	return history
}

// expiries returns for each SET with a time to live what ends it: a unit that nobody sent, which
// deletes the key if it still has that value. Elements are never written twice, so that this is no
// other's.
func expiries(history []porcupine.Operation) []porcupine.Operation {
	var ends []porcupine.Operation
	for _, op := range history {
		for _, c := range op.Input.(*unit).commands {
			if c.name != "SETPX" {
				continue
			}
			life, _ := strconv.Atoi(c.args[1])
			end := op
			end.Input = &unit{client: maxClients - 1, how: expiry, commands: []command{{"expiry", c.keys, c.args}}}
			end.Output = &outcome{isUnknown: true}
			end.Call += int64(life) * int64(time.Millisecond)
			if op.Return != never {
				end.Return += int64(life)*int64(time.Millisecond) + int64(clockSlack)
			}
			ends = append(ends, end)
		}
	}
	return ends
}

func (p *player) follow(plan plan) {
	for i, batch := range plan.batches {
		heard := -1
		if i == plan.cutBatch {
			heard = plan.heard
		}
		p.play(batch, heard)
		if p.isDead {
			return
		}
		if plan.isSlow {
			pause(p.dice, 12*time.Millisecond)
		} else if p.dice.Intn(3) == 0 {
			pause(p.dice, time.Millisecond)
		}
	}
	p.put("UNWATCH")
	if p.flush() == nil {
		p.read()
	}
}

// readAll reads every key at one instant, after all that returned.
func (p *player) readAll(t theme) {
	u := &unit{client: roundClients, seq: 1, how: multi}
	for key := 0; key < t.strings+t.lists+t.sets; key++ {
		name := "SMEMBERS"
		if key < t.strings {
			name = "GET"
		} else if key < t.strings+t.lists {
			name = "LRANGE"
		}
		u.commands = append(u.commands, command{name, []int{key}, nil})
	}
	batch := []*unit{u}
	if !p.lab.has("transactions") {
		batch = nil
		for i := range u.commands {
			batch = append(batch, &unit{client: u.client, seq: uint16(i + 1), commands: u.commands[i : i+1]})
		}
	}
	p.play(batch, -1)
}

// torment kills or unblocks a connection at a random time; the function returned waits until it is
// done.
func (r *round) torment(id, how string) func() {
	control := r.lab.connect()
	dice := r.lab.dice(r.dice.Int())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; i < 3; i++ {
			time.Sleep(time.Duration(dice.Int63n(int64(5 * time.Millisecond))))
			if how == "KILL" && i == 0 {
				r.lab.must(control, "CLIENT", "KILL", "ID", id)
			} else if how == "UNBLOCK" {
				r.lab.must(control, "CLIENT", "UNBLOCK", id, []string{"TIMEOUT", "ERROR"}[i%2])
			}
		}
		control.close()
	}()
	return func() { <-done }
}

// ---- checking beside the load

// verifier checks histories in the background, one at a time.
type verifier struct {
	lab                *lab
	work               chan func()
	done               chan struct{}
	checked, undecided int
	units, longest     int
}

func newVerifier(l *lab) *verifier {
	v := &verifier{lab: l, work: make(chan func(), 4), done: make(chan struct{})}
	go func() {
		for check := range v.work {
			check()
		}
		close(v.done)
	}()
	return v
}

func (v *verifier) check(name string, history []porcupine.Operation) {
	v.work <- func() {
		if v.lab.isBroken() {
			return
		}
		v.checked++
		v.units += len(history)
		switch checkHistory(history, checkLimit) {
		case porcupine.Unknown:
			v.undecided++
		case porcupine.Illegal:
			v.lab.violation("%s, seed %d: not linearizable\n%s", name, v.lab.seed, describe(history))
		}
	}
}

// finish waits for all; a checker that too often cannot say is no checker.
func (v *verifier) finish() {
	close(v.work)
	<-v.done
	v.lab.note("%d histories of %d units checked, %d not decided in %v", v.checked, v.units, v.undecided,
		checkLimit)
	// A short run may have two: while the first is tried, little else is run.
	areFew := v.undecided <= 2 && v.undecided*2 <= v.checked
	if v.undecided*50 > v.checked+49 && !areFew && !v.lab.isBroken() {
		v.lab.violation("%d of %d histories could not be decided", v.undecided, v.checked)
	}
}
