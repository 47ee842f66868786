/** The orders of the example: an array in memory with a bound. A real service has a database here. */

export interface Order {
	readonly id: number;
	readonly item: string;
	readonly quantity: number;
	readonly createdAt: string;
}

/** What a client may ask for, before it is checked. */
export type OrderProblem = { readonly field: "body" | "item" | "quantity"; readonly detail: string };

/** Beyond this many the oldest goes, so that the example may run for a week. */
export const ORDERS_MAX = 10_000;

export interface Orders {
	list(limit: number): readonly Order[];
	find(id: number): Order | undefined;
	/** The new order, or the first thing that is wrong with what was asked for. */
	create(asked: unknown): Order | OrderProblem;
	/** Calls `listener` for each new order until the function that is returned is called. */
	onCreate(listener: (order: Order) => void): () => void;
	readonly created: number;
}

export function createOrders(now: () => Date = () => new Date()): Orders {
	const orders = new Map<number, Order>();
	const listeners = new Set<(order: Order) => void>();
	let created = 0;
	return {
		list: (limit) => [...orders.values()].slice(-limit).reverse(),
		find: (id) => orders.get(id),
		create(asked) {
			if (typeof asked !== "object" || asked === null) return { field: "body", detail: "a JSON object is expected" };
			const { item, quantity = 1 } = asked as { item?: unknown; quantity?: unknown };
			if (typeof item !== "string" || item === "" || item.length > 200) {
				return { field: "item", detail: "1 to 200 characters are expected" };
			}
			if (typeof quantity !== "number" || !Number.isInteger(quantity) || quantity < 1 || quantity > 1000) {
				return { field: "quantity", detail: "a whole number from 1 to 1000 is expected" };
			}
			created += 1;
			const order: Order = { id: created, item, quantity, createdAt: now().toISOString() };
			orders.set(order.id, order);
			if (orders.size > ORDERS_MAX) orders.delete(created - ORDERS_MAX);
			for (const listener of listeners) listener(order);
			return order;
		},
		onCreate(listener) {
			listeners.add(listener);
			return () => listeners.delete(listener);
		},
		get created() {
			return created;
		},
	};
}
