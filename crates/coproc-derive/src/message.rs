//! `#[derive(Message)]`, and the part of `#[derive(Item)]` that is the same.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Data, DeriveInput, Error, Fields, Result, Type};

use crate::input::{self, Field};

/// What each field must be.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Of {
    Messages,
    Items,
}

pub(crate) fn derive(input: DeriveInput) -> Result<TokenStream> {
    expand(&input, Of::Messages, &input::names(&input)?)
}

/// The types of all fields, or why the type is none that can be read and written.
pub(crate) fn field_types<'a>(input: &'a DeriveInput, derive: &str) -> Result<Vec<&'a Type>> {
    input::no_lifetimes(&input.generics)?;
    input::not_packed(input, derive)?;
    match &input.data {
        Data::Struct(data) => Ok(data.fields.iter().map(|field| &field.ty).collect()),
        Data::Enum(data) if data.variants.is_empty() => {
            Err(Error::new_spanned(&input.ident, format!("`{derive}` needs an enum that has a variant: this one has no values")))
        }
        Data::Enum(data) => Ok(data.variants.iter().flat_map(|v| &v.fields).map(|field| &field.ty).collect()),
        Data::Union(_) => Err(Error::new_spanned(
            &input.ident,
            format!("`{derive}` cannot be derived for a union: nobody can tell which field to send. Use an enum"),
        )),
    }
}

pub(crate) fn expand(input: &DeriveInput, of: Of, names: &TokenStream) -> Result<TokenStream> {
    let (derive, bound) = match of {
        Of::Messages => ("Message", quote!(#names::Message)),
        Of::Items => ("Item", quote!(#names::Item)),
    };
    let name = &input.ident;
    let types = field_types(input, derive)?;
    let generics = input::bounded(input, types.into_iter().map(|ty| (ty, &bound)));
    let parts = Parts { names, of, to: input::local("to"), from: input::local("from") };
    let (bound, write, read) = match &input.data {
        Data::Struct(data) => parts.of_struct(&data.fields),
        Data::Enum(data) => parts.of_enum(data),
        Data::Union(_) => unreachable!("field_types refuses unions"),
    };
    let Parts { to, from, .. } = &parts;
    let (impl_generics, ty_generics, clause) = generics.split_for_impl();

    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics #names::Message for #name #ty_generics #clause {
            const BOUND: ::core::option::Option<usize> = #bound;

            fn write(&self, #to: &mut #names::Writer<'_>) {
                let _ = &#to;
                #write
            }

            fn read(#from: &mut #names::Reader<'_>) -> ::core::option::Option<Self> {
                let _ = &#from;
                #read
            }
        }
    })
}

/// The three parts of the trait for one type.
struct Parts<'a> {
    names: &'a TokenStream,
    of: Of,
    to: Ident,
    from: Ident,
}

impl Parts<'_> {
    fn of_struct(&self, fields: &Fields) -> (TokenStream, TokenStream, TokenStream) {
        let fields = input::fields(fields);
        let write = fields.iter().map(|field| {
            let member = &field.member;
            self.write(field.ty, &quote!(&self.#member))
        });
        let read = self.read(&fields);
        (self.bound(&fields), quote!(#(#write)*), quote!(::core::option::Option::Some(Self { #read })))
    }

    fn of_enum(&self, data: &syn::DataEnum) -> (TokenStream, TokenStream, TokenStream) {
        let Self { names, to, from, .. } = self;
        let tag = if data.variants.len() <= 256 { quote!(u8) } else { quote!(u32) };
        let mut bounds = Vec::new();
        let mut writes = Vec::new();
        let mut reads = Vec::new();
        for (index, variant) in data.variants.iter().enumerate() {
            let (ident, fields) = (&variant.ident, input::fields(&variant.fields));
            let index = proc_macro2::Literal::usize_unsuffixed(index);
            let members = fields.iter().map(|field| &field.member);
            let locals: Vec<_> = (0..fields.len()).map(|i| input::local(&format!("field{i}"))).collect();
            let write = fields.iter().zip(&locals).map(|(field, local)| self.write(field.ty, &quote!(#local)));
            let read = self.read(&fields);
            bounds.push(self.bound(&fields));
            writes.push(quote! {
                Self::#ident { #(#members: #locals),* } => {
                    <#tag as #names::Message>::write(&#index, #to);
                    #(#write)*
                }
            });
            reads.push(quote!(#index => ::core::option::Option::Some(Self::#ident { #read }),));
        }
        (
            quote! {
                #names::bound_sum(&[::core::option::Option::Some(::core::mem::size_of::<#tag>()), #names::bound_max(&[#(#bounds),*])])
            },
            quote!(match self { #(#writes)* }),
            quote! {
                match <#tag as #names::Message>::read(#from)? {
                    #(#reads)*
                    _ => ::core::option::Option::None,
                }
            },
        )
    }

    /// The bound of these fields together.
    fn bound(&self, fields: &[Field<'_>]) -> TokenStream {
        let names = self.names;
        let bounds = fields.iter().map(|field| {
            let ty = field.ty;
            match self.of {
                Of::Messages => quote_spanned!(input::at(ty)=> <#ty as #names::Message>::BOUND),
                Of::Items => quote_spanned!(input::at(ty)=> ::core::option::Option::Some(__item_size::<#ty>())),
            }
        });
        quote!(#names::bound_sum(&[#(#bounds),*]))
    }

    fn write(&self, ty: &Type, value: &TokenStream) -> TokenStream {
        let (Self { names, to, .. }, ask) = (self, self.ask(ty));
        quote_spanned!(input::at(ty)=> #ask <#ty as #names::Message>::write(#value, #to);)
    }

    /// The fields of a struct expression, read in order.
    fn read(&self, fields: &[Field<'_>]) -> TokenStream {
        let Self { names, from, .. } = self;
        let reads = fields.iter().map(|field| {
            let (member, ty, ask) = (&field.member, field.ty, self.ask(field.ty));
            quote_spanned!(input::at(ty)=> #member: { #ask <#ty as #names::Message>::read(#from)? })
        });
        quote!(#(#reads),*)
    }

    /// Asks whether the field is an item before it is used as a message.
    ///
    /// Each use begins with the same question, so that the compiler reports a wrong field once: what follows at the same place is
    /// implied, and an error that was already printed word for word is not printed again.
    fn ask(&self, ty: &Type) -> TokenStream {
        match self.of {
            Of::Messages => quote!(),
            Of::Items => quote_spanned!(input::at(ty)=> __item_size::<#ty>();),
        }
    }
}
