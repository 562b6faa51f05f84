import AggCore

/// Parts of the topology before, for a reload: what is the same runs on.
extension TopologyBuilder {
  /// Where the topology's lists end, before a section is read.
  struct Mark {
    var place: String
    var made, counters, plugins, runners, secondaries, holding, timed, fileBuffers, places, labelEdges, outputs, errors: Int
    var numbers: [String: Int]
    var bufferPaths: Set<String>
  }
  func mark(_ element: ConfigElement, _ kind: String, _ label: String) -> Mark {
    Mark(
      place: "\(kind) \(label) \(info.workers)\n\(element.fingerprint)", made: made.count, counters: topology.counters.count, plugins: topology.plugins.count,
      runners: topology.runners.count, secondaries: topology.secondaries.count, holding: topology.holding.count, timed: topology.timed.count,
      fileBuffers: topology.fileBuffers.count, places: topology.places.count, labelEdges: topology.labelEdges.count,
      outputs: currentOutputs.count, errors: errors.count, numbers: numbers, bufferPaths: Set(bufferPaths.keys))
  }

  /// Remembers what was made since `mark`, for the next reload.
  func keep(_ made: Component.Made, since mark: Mark) {
    guard errors.count == mark.errors else { return }
    var ranges: [String: Range<Int>] = [:]
    for (stem, n) in numbers where n != mark.numbers[stem, default: 0] { ranges[stem] = mark.numbers[stem, default: 0]..<n }
    var component = Component(made: made, numbers: ranges)
    component.counters = Array(topology.counters[mark.counters...])
    component.plugins = Array(topology.plugins[mark.plugins...])
    component.runners = Array(topology.runners[mark.runners...])
    component.secondaries = Array(topology.secondaries[mark.secondaries...])
    component.holding = Array(topology.holding[mark.holding...])
    component.timed = Array(topology.timed[mark.timed...])
    component.fileBuffers = Array(topology.fileBuffers[mark.fileBuffers...])
    component.places = Array(topology.places[mark.places...])
    component.labelEdges = Array(topology.labelEdges[mark.labelEdges...])
    component.outputs = Array(currentOutputs[mark.outputs...])
    component.bufferPaths = bufferPaths.keys.filter { !mark.bufferPaths.contains($0) }
    component.nested = Array(self.made[mark.made...])
    self.made.append((mark.place, component))
  }

  /// What the topology before made of the same section, now also a part of this one; nil when there is none.
  func adopt(_ element: ConfigElement, _ mark: Mark) -> Component.Made? {
    guard let previous, let known = previous.components.withLock({ $0[mark.place] }) else { return nil }
    let bound = previous.bound.withLock { $0 }
    let found = known.first { component in
      component.numbers.allSatisfy { numbers[$0.key, default: 0] == $0.value.lowerBound } && bound.isDisjoint(with: component.ids)
        && topology.kept.isDisjoint(with: component.ids)
    }
    guard var component = found else { return nil }
    for (stem, range) in component.numbers { numbers[stem] = range.upperBound }
    for plugin in component.plugins {
      guard let id = plugin.element["@id"] ?? plugin.element["id"] else { continue }
      if let other = ids[id] { fail(element.at, "@id \(id) is used twice; the other is at \(other)") }
      ids[id] = element.at
    }
    for path in component.bufferPaths {
      if let other = bufferPaths[path] { fail(element.at, "buffer path \(path) is used twice; the other is at \(other)") }
      bufferPaths[path] = element.at
    }
    for index in component.labelEdges.indices {
      let edge = component.labelEdges[index]
      component.labelEdges[index].rule = currentRule
      if edge.isRequired, edge.to != "@ROOT", topology.labelUses[edge.to] == nil { topology.labelUses[edge.to] = element.at }
    }
    topology.counters += component.counters
    topology.plugins += component.plugins
    topology.runners += component.runners
    topology.secondaries += component.secondaries
    topology.holding += component.holding
    topology.timed += component.timed
    topology.fileBuffers += component.fileBuffers
    topology.places += component.places
    topology.labelEdges += component.labelEdges
    currentOutputs += component.outputs
    topology.kept.formUnion(component.ids)
    context.claims.adopt(previous.claims, of: component.ids)
    let emitting = previous.emitting.withLock { $0.intersection(component.ids) }
    topology.emitting.withLock { $0.formUnion(emitting) }
    made += component.nested + [(mark.place, component)]
    return component.made
  }
}
