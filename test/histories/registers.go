// SPDX-License-Identifier: BSD-3-Clause
//
// Many keys and long pipelines: what several keys do together is random.go's to find out; here each
// key is a register (SET, GET, GETSET, INCRBY, APPEND ...), and every unit, also MSET, MGET,
// transactions and scripts over several keys, is cut into what it did to each key. Each key's
// history must be linearizable by itself, with every connection's order kept. That allows rounds of
// thousands of units.

package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/anishathalye/porcupine"
)

const (
	registerKeys    = 40
	registerClients = 12
	registerBatches = 12
)

// registerUnit writes one unit over some of the keys.
func (a *author) registerUnit() *unit {
	u := &unit{client: a.client, seq: 1}
	count := 1
	if a.Intn(3) == 0 {
		u.how = a.manner(multi, multi, multi, declared, undeclared)
	}
	if u.how != plain {
		count = 2 + a.Intn(4)
	}
	for i := 0; i < count; i++ {
		u.commands = append(u.commands, a.registerCommand())
	}
	return u
}

func (a *author) registerCommand() command {
	key := a.some(1, 0, registerKeys)
	switch a.Intn(10) {
	case 0, 1, 2:
		return command{"GET", key, nil}
	case 3, 4:
		return command{"SET", key, []string{a.element()}}
	case 5:
		return command{a.one("GETSET", "APPEND", "SETNX"), key, []string{a.element()}}
	case 6:
		return command{a.one("GETDEL", "DEL", "EXISTS"), key, nil}
	case 7:
		return command{"INCRBY", key, []string{"1"}}
	}
	keys := a.some(2+a.Intn(5), 0, registerKeys)
	if a.Intn(2) == 0 {
		return command{"MGET", keys, nil}
	}
	c := command{"MSET", keys, nil}
	for range keys {
		c.args = append(c.args, a.element())
	}
	return c
}

// perKey cuts a history into one for each key; in each, the key has the number 0.
func perKey(players []*player) [][]porcupine.Operation {
	histories := make([][]porcupine.Operation, registerKeys)
	for _, p := range players {
		var seq [registerKeys]uint16
		for _, op := range p.history {
			for key, part := range parts(op.Input.(*unit), op.Output.(*outcome)) {
				seq[key]++
				part.unit.seq = seq[key]
				op.Input, op.Output = part.unit, part.outcome
				histories[key] = append(histories[key], op)
			}
		}
	}
	return histories
}

type part struct {
	*unit
	*outcome
}

// parts is what a unit did to each of its keys.
func parts(u *unit, out *outcome) map[int]part {
	done := map[int]part{}
	add := func(key int, name, said string, args []string) {
		if _, ok := done[key]; !ok {
			done[key] = part{&unit{client: u.client, how: plain},
				&outcome{isUnknown: out.isUnknown}}
		}
		p := done[key]
		p.commands = append(p.commands, command{name, []int{0}, args})
		p.replies = append(p.replies, said)
	}
	for i, c := range u.commands {
		said := ""
		if i < len(out.replies) {
			said = out.replies[i]
		}
		if len(c.keys) == 1 && c.name != "MGET" && c.name != "MSET" {
			add(c.keys[0], c.name, said, c.args)
			continue
		}
		values := strings.Fields(strings.Trim(said, "[]"))
		for at, key := range c.keys {
			if c.name == "MSET" {
				add(key, "SET", said, c.args[at:at+1])
			} else if at < len(values) {
				add(key, "GET", values[at], nil)
			} else {
				add(key, "GET", said, nil)
			}
		}
	}
	return done
}

func registers(l *lab) {
	conns := make([]*conn, registerClients)
	for i := range conns {
		conns[i] = l.connect()
	}
	control := l.connect()
	v := newVerifier(l)
	for n := 0; !l.isOver(); n++ {
		players := make([]*player, registerClients)
		together(registerClients, func(i int) {
			a := &author{lab: l, Rand: l.dice(n*100 + i), client: i}
			players[i] = &player{conn: conns[i], lab: l, dice: a.Rand,
				prefix: fmt.Sprintf("r%d:%d:", l.seed, n)}
			conns[i] = players[i].registerRound(a, n)
		})
		for key, history := range perKey(players) {
			v.check("round "+strconv.Itoa(n)+", register "+strconv.Itoa(key), history)
		}
		if n%50 == 49 {
			l.must(control, "FLUSHALL")
			l.flushScripts(control)
		}
	}
	v.finish()
}

// registerRound plays some batches and returns the connection for the next round; now and then it
// cuts it.
func (p *player) registerRound(a *author, n int) *conn {
	for i := 0; i < registerBatches; i++ {
		var batch []*unit
		for count := 1 + a.Intn(16); count > 0; count-- {
			batch = append(batch, a.registerUnit())
		}
		heard := -1
		if (n+a.client)%registerClients == 0 && i == registerBatches-1 {
			heard = a.Intn(len(batch))
		}
		p.play(batch, heard)
		if p.isDead {
			p.close()
			return p.lab.connect()
		}
	}
	return p.conn
}
